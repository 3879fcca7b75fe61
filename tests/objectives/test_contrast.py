import numpy as np
import pytest
import torch
from torch import multiprocessing

from contrast_ranks import LABELS, of_one_process, views
from wced.objectives.contrast import Contrast
from wced.ontology import load


def brute_force(first_nd, second_nd, positive_nn, temperature):
    """Sum of the loss over cells and directions, in float64, by the definition."""
    first_nd, second_nd = (x_nd / np.linalg.norm(x_nd, axis=1, keepdims=True) for x_nd in (first_nd, second_nd))
    total = 0.0
    for from_nd, to_nd in ((first_nd, second_nd), (second_nd, first_nd)):
        for i in range(len(from_nd)):
            s_j = to_nd @ from_nd[i] / temperature
            log_p_j = s_j - s_j.max() - np.log(np.exp(s_j - s_j.max()).sum())
            total -= log_p_j[positive_nn[i]].mean()
    return total


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_loss_equals_the_definition(temperature):
    first_nd, second_nd = views(9)
    related_cc = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    label_n = np.array([0, 1, 2, 2, -1, -1, 0, 2, 1])
    tensors = [torch.tensor(x_nd, dtype=torch.float32) for x_nd in (first_nd, second_nd)]
    alone = Contrast(temperature)(*tensors, torch.arange(9))
    assert alone.count == 18
    expected = brute_force(first_nd, second_nd, np.eye(9, dtype=bool), temperature)
    assert float(alone.total) == pytest.approx(expected, rel=1e-5)
    labelled = Contrast(temperature, related_cc)(*tensors, torch.arange(9), torch.tensor(label_n))
    positive_nn = np.eye(9, dtype=bool)
    for i in range(9):
        for j in range(9):
            positive_nn[i, j] |= label_n[i] >= 0 and label_n[j] >= 0 and related_cc[label_n[i], label_n[j]]
    assert float(labelled.total) == pytest.approx(brute_force(first_nd, second_nd, positive_nn, temperature), rel=1e-5)


def test_a_cell_duplicated_in_a_batch_is_no_negative_of_itself():
    first_nd, second_nd = views(4)
    tensors = [torch.tensor(x_nd, dtype=torch.float32) for x_nd in (first_nd, second_nd)]
    term = Contrast(0.2)(*tensors, torch.tensor([7, 8, 7, 9]))
    positive_nn = np.eye(4, dtype=bool)
    positive_nn[0, 2] = positive_nn[2, 0] = True
    assert float(term.total) == pytest.approx(brute_force(first_nd, second_nd, positive_nn, 0.2), rel=1e-5)


def test_equal_views_of_different_cells_have_a_loss_near_zero():
    x_nd = 100 * torch.eye(5)
    assert float(Contrast(0.02)(x_nd, x_nd, torch.arange(5)).mean) < 1e-6


def test_two_processes_have_the_loss_and_the_gradients_of_one(tmp_path):
    sizes = (4, 3)
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [
        context.Process(target=of_one_process, args=(rank, f"file://{tmp_path}/meeting", sizes, results))
        for rank in range(len(sizes))
    ]
    for process in processes:
        process.start()
    parts = sorted((results.get() for _ in processes), key=lambda part: part[0])
    for process in processes:
        process.join()
        assert process.exitcode == 0
    first_nd, second_nd = (torch.tensor(x_nd, dtype=torch.float32, requires_grad=True) for x_nd in views(sum(sizes)))
    label_n = torch.tensor(LABELS)
    whole = Contrast(0.2, np.eye(2, dtype=bool))(first_nd, second_nd, torch.arange(sum(sizes)), label_n)
    whole.total.backward()
    assert sum(total for _, total, _ in parts) == pytest.approx(whole.total.item(), rel=1e-6)
    for which, x_nd in enumerate((first_nd, second_nd)):
        gradients = np.concatenate([gradient[which] for _, _, gradient in parts])
        np.testing.assert_allclose(gradients, x_nd.grad.numpy(), atol=1e-6)


def test_near_terms_of_the_cell_ontology():
    ontology = load()
    t_cell = "CL:0000084"
    assert ontology.near(t_cell, 0) == {t_cell}
    assert ontology.near(t_cell, 1) == {t_cell, *ontology.parents[t_cell], *ontology.children[t_cell]}
    assert ontology.near(t_cell, 2) > ontology.near(t_cell, 1)
