"""The veil: nothing of the answer before a guess, the misconception by name after it, no second choice."""

import re
from types import SimpleNamespace

import ipywidgets
import nbformat
import pytest
from driven import driven

from k8slb.course import Predict, progress
from k8slb.course.questions import lessons, questions
from k8slb.course.saved import AGAIN, pictures_only
from k8slb.errors import K8slbError

PREDICTIONS = {lesson: questions(lesson).PREDICTION for lesson in lessons()}
WRONG = [(id, option) for id, p in PREDICTIONS.items() for option in p.options if option.misconception]


class Behind(ipywidgets.VBox):
    def _repr_mimebundle_(self, **kwargs):
        still = {"image/png": "AAAA", "text/plain": "three bars", "text/html": "<b>no</b>"}
        return super()._repr_mimebundle_(**kwargs) | still


@pytest.fixture(autouse=True)
def lesson(monkeypatch, tmp_path):
    """A learner's folder."""
    (tmp_path / "02-x.ipynb").touch()
    monkeypatch.setattr(progress, "_start", tmp_path)
    forget(monkeypatch)
    return tmp_path


def forget(monkeypatch):
    """What a restart of the kernel does."""
    monkeypatch.setattr(progress, "_memory", {kind: {} for kind in progress.KINDS})


def controls(widget):
    return [*widget.choices, widget.lock_button, widget.show_button]


def choose(widget, option):
    widget.choices[PREDICTIONS[widget.id].options.index(option)].index = 0


@pytest.mark.parametrize("id", PREDICTIONS)
def test_nothing_shows_before_a_guess(id):
    predict = Predict(id, Behind())
    assert predict.guess is None and predict.veil.children == () and predict.told.value == ""
    assert not any(control.disabled for control in controls(predict))
    labels = [control.description or control.options[0] for control in controls(predict)]
    assert labels == [*(option.text for option in PREDICTIONS[id].options), "Lock my guess", "Show me anyway"]
    text = " ".join(child.value for child in predict.children if isinstance(child, ipywidgets.HTML))
    assert not any(option.misconception and option.misconception in text for option in PREDICTIONS[id].options)


def test_locking_nothing_asks_for_an_answer():
    predict = Predict("02", Behind())
    predict.lock_button.click()
    assert "Choose an answer first" in predict.told.value and predict.veil.children == ()
    assert not any(control.disabled for control in controls(predict))


@pytest.mark.parametrize("id, option", WRONG)
def test_a_wrong_guess_is_refuted_by_name(id, option):
    predict = Predict(id, Behind())
    choose(predict, option)
    predict.lock_button.click()
    assert predict.veil.children == (predict.behind,)
    assert all(control.disabled for control in controls(predict))
    told = re.sub("<[^>]*>", "", predict.told.value)
    assert "is not right" in told and f"“{option.misconception}”" in told and PREDICTIONS[id].right.text in told
    assert "role='status'" in predict.told.value


@pytest.mark.parametrize("id", PREDICTIONS)
def test_the_right_guess_is_told_so(id):
    predict = Predict(id, Behind())
    choose(predict, PREDICTIONS[id].right)
    predict.lock_button.click()
    assert "Your guess is right" in predict.told.value and predict.veil.children == (predict.behind,)


def test_the_last_choice_counts():
    predict = Predict("02", Behind())
    for number in (0, 2, 1):
        predict.choices[number].index = 0
        assert [choice.index for choice in predict.choices] == [0 if n == number else None for n in range(4)]
    assert predict.guess == PREDICTIONS["02"].options[1].text


def test_show_me_anyway_locks_no_guess(lesson):
    predict = Predict("02", Behind())
    predict.choices[0].index = 0
    predict.show_button.click()
    assert "No guess locked" in predict.told.value and predict.veil.children == (predict.behind,)
    assert all(control.disabled for control in controls(predict))
    assert Predict("02", Behind()).veil.children == (), "asked anew in the next run"


def test_a_locked_guess_is_remembered(lesson, monkeypatch):
    predict = Predict("02", Behind())
    predict.choices[1].index = 0
    predict.lock_button.click()
    forget(monkeypatch)
    again = Predict("02", Behind())
    assert again.choices[1].index == 0 and again.told.value == predict.told.value
    assert again.veil.children == (again.behind,) and all(control.disabled for control in controls(again))


def test_a_guess_that_is_no_option_any_more_is_asked_again():
    progress.record("guesses", "02", "an option of an older edition")
    assert Predict("02", Behind()).veil.children == ()


def test_stored_it_shows_the_picture_and_live_the_question():
    data, _ = Predict("02", Behind())._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    assert (data["image/png"], data["text/plain"]) == ("AAAA", "three bars")


def test_saved_before_the_guess_is_locked_it_does_not_give_the_answer_away(lesson):
    manager = SimpleNamespace(root_dir=str(lesson.parent))

    def saved():
        data, metadata = Predict("02", Behind())._repr_mimebundle_()
        output = {"output_type": "display_data", "data": dict(data), "metadata": metadata}
        model = {"type": "notebook", "content": {"cells": [{"outputs": [output]}]}}
        pictures_only(model, path=f"{lesson.name}/02-x.ipynb", contents_manager=manager)
        return output["data"]

    assert saved() == {"text/plain": AGAIN}
    progress.record("guesses", "02", PREDICTIONS["02"].options[0].text)
    assert saved() == {"image/png": "AAAA", "text/plain": "three bars"}


def test_an_unknown_prediction_is_told():
    with pytest.raises(K8slbError, match="no prediction '99'; there are 00, "):
        Predict("99", Behind())


@pytest.mark.parametrize("id", PREDICTIONS)
def test_a_prediction_has_one_right_answer_and_names_every_other(id):
    prediction = PREDICTIONS[id]
    assert len({option.text for option in prediction.options}) == len(prediction.options) >= 3
    for option in prediction.options:
        assert bool(option.misconception) == bool(option.refuted) == (option is not prediction.right)
        assert len(option.text) <= 42, "does not fit on a phone"


def click(client, model):
    """What JupyterLab sends when a button is pressed."""
    content = {"comm_id": model, "data": {"method": "custom", "content": {"event": "click"}}}
    client.kc.shell_channel.send(client.kc.session.msg("comm_msg", content))


def test_in_a_kernel(lesson):
    """Chosen and pressed over the wire; the guess then stands in the file beside the notebook."""
    cells = ["import ipywidgets\nfrom k8slb.course import Predict", 'p = Predict("02", ipywidgets.IntSlider())\np']
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, lesson / "02-x.ipynb")
    with driven(lesson / "02-x.ipynb") as client:
        _, choice, *_ = client.models("RadioButtonsModel")
        buttons = {state["description"]: model for model, state in client.models("ButtonModel").items()}
        assert client.value_of("p.veil.children") == "()"
        client.move(choice, index=0)
        click(client, buttons["Lock my guess"])
        assert client.value_of("p.veil.children == (p.behind,), p.choices[0].disabled") == "(True, True)"
        assert "is not right" in client.value_of("p.told.value")
        assert client.value_of("from k8slb.course import check; check('02.1', lambda c, n: 1)") == ""
    assert "mostly" in (lesson / "progress.json").read_text()
