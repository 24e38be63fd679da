"""The course around the lessons: copies for learners, checks, hints, solutions."""
