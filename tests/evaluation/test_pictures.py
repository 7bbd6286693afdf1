import numpy as np
import pytest

from r2d.evaluation.label_metrics import label_metrics, without_classes
from r2d.evaluation.pictures import accuracy_picture, confusion_matrix_picture

LABELS = ["Emergency", "Clinic", "Home"]


def picture(predicted, labels=LABELS):
    return confusion_matrix_picture(label_metrics(labels, predicted, labels), labels)


def test_the_picture_grows_with_the_labels_and_stays_readable():
    small, large = picture(LABELS), picture([str(i) for i in range(8)], [str(i) for i in range(8)])
    assert small.mode == "RGB"
    assert 500 < small.width < large.width < 2000
    assert large.height > small.height
    many = [str(i) for i in range(60)]
    assert picture(many, many).width < 3000


def test_different_decisions_give_different_pictures_and_equal_ones_the_same():
    right, wrong = np.asarray(picture(LABELS)), np.asarray(picture(["Home", "Clinic", "nonsense"]))
    assert np.array_equal(right, np.asarray(picture(LABELS)))
    assert right.shape != wrong.shape or not np.array_equal(right, wrong)


def test_a_wholly_right_matrix_has_as_many_dark_cells_as_labels():
    pixels = np.asarray(picture(LABELS)).astype(int)
    darkest = np.all(np.abs(pixels - [8, 48, 107]) < 12, axis=2)  # the end of matplotlib's Blues
    assert 0.02 < darkest.mean() < 0.25
    wrong = np.asarray(picture([None, "Emergency", None])).astype(int)
    assert not np.array_equal(pixels.shape, wrong.shape) or not np.array_equal(pixels, wrong)


def test_drawing_leaves_no_global_figure_open():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    picture(LABELS)
    assert plt.get_fignums() == before


def test_the_bar_of_the_model_is_as_long_as_its_accuracy():
    def blue(accuracy):
        systems = {"an option at random": without_classes([0.2] * 50), "this model": without_classes([accuracy] * 50)}
        pixels = np.asarray(accuracy_picture(systems)).astype(int)
        return np.all(np.abs(pixels - [0, 114, 178]) < 12, axis=2).sum()

    assert blue(0.8) / blue(0.4) == pytest.approx(2.0, rel=0.02)
