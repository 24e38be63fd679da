"""The exercises of all lessons by id, "02.1" being the first of lesson 02."""

from . import lesson_00, lesson_02, lesson_09
from .base import Exercise, Unfit, Verdict, empty

LESSONS = (lesson_00, lesson_02, lesson_09)
EXERCISES: dict[str, Exercise] = {exercise.id: exercise for lesson in LESSONS for exercise in lesson.EXERCISES}

__all__ = ["EXERCISES", "Exercise", "Unfit", "Verdict", "empty"]
