"""Words that no caption has."""

import torch
from mezzotint_emoji.recipe.words import lend_embeddings
from torch.nn.functional import normalize


def test_an_unseen_word_has_the_embedding_of_the_nearest_seen_one():
    torch.manual_seed(0)
    words, embeddings = normalize(torch.randn(6, 64), dim=1), torch.randn(6, 8)
    words[5] = words[2] + 0.05 * torch.randn(64)
    before = embeddings.clone()
    lend_embeddings(embeddings, words, lenders={0, 1, 2}, known={0, 1, 2, 3, 4})
    assert torch.equal(embeddings[:5], before[:5])
    assert torch.allclose(embeddings[5], before[2], atol=0.05)


def test_between_two_words_it_is_between_them():
    words, embeddings = torch.tensor([[1.0, 0], [0, 1], [1, 1]]), torch.tensor([[2.0], [4], [9]])
    lend_embeddings(embeddings, words, lenders={0, 1}, known={0, 1})
    assert embeddings.flatten().tolist() == [2, 4, 3]


def test_lending_twice_is_lending_once():
    torch.manual_seed(0)
    words, embeddings = torch.randn(9, 16), torch.randn(9, 4)
    lend_embeddings(embeddings, words, {0, 1, 2, 3}, {0, 1, 2, 3, 4})
    once = embeddings.clone()
    lend_embeddings(embeddings, words, {0, 1, 2, 3}, {0, 1, 2, 3, 4})
    assert torch.equal(embeddings, once)


def test_nothing_to_lend_is_no_error():
    embeddings = torch.ones(2, 2)
    lend_embeddings(embeddings, torch.eye(2), {0}, {0, 1})
    assert torch.equal(embeddings, torch.ones(2, 2))
