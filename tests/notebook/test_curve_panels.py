from audio_lm.notebook.curve_panels import curve_panels

CURVE = [(1, 0.5), (2, 0.25)]


def test_curves_of_several_tasks_have_a_panel_for_training_and_one_for_validation():
    names = ("train_loss/asr", "train_loss/sec", "train_loss/all", "val_loss/asr", "lr")
    panels = curve_panels(dict.fromkeys(names, CURVE), ["loss"])
    assert {title: [*curves] for title, curves in panels.items()} == {
        "training loss, nats": ["asr", "sec", "all"],
        "validation loss, nats": ["asr"],
    }


def test_curves_of_one_task_share_a_panel():
    names = ("train_margin/chat", "train_margin/all", "val_margin/chat", "val_margin/all")
    panels = curve_panels(dict.fromkeys(names, CURVE), ["margin", "accuracy"])
    assert panels == {"margin of the rewards, nats": {"training": CURVE, "validation": CURVE}}


def test_a_metric_that_was_not_logged_has_no_panel():
    assert curve_panels({"train_loss/asr": CURVE}, ["margin"]) == {}
