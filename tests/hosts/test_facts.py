"""How a disagreement is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resnet.hosts.cluster import Cluster
from resnet.hosts.facts import disagreement

THREE = Cluster(("a:1", "b:2", "c:3"), 0)

facts = st.dictionaries(st.sampled_from(["code", "records", "recipe.model.depth"]), st.sampled_from("xyz"))


@given(st.lists(facts, min_size=2, max_size=3))
def test_hosts_agree_exactly_when_all_their_facts_are_equal(found):
    is_told = disagreement(THREE, dict(enumerate(found))) != ""
    assert is_told == any(each != found[0] for each in found)


def test_host_fact_and_both_values_are_named():
    told = disagreement(THREE, {0: {"tensorflow": "2.21"}, 1: {"tensorflow": "2.21"}, 2: {"tensorflow": "2.20"}})
    assert told.startswith("host 2 (c:3) differs in tensorflow: 2.20 there, and 2.21 on host 0 (a:1). ")


def test_a_detail_is_named_with_what_it_belongs_to():
    name = "recipe.training.batch_size"
    told = disagreement(THREE, {0: {name: "256"}, 1: {name: "128"}})
    assert "host 1 (b:2) differs in recipe: training.batch_size is 128 there, and 256 on host 0" in told


def test_a_fact_that_one_host_lacks_is_a_difference():
    assert "differs in code: nothing there, and x on" in disagreement(THREE, {0: {"code": "x"}, 1: {}})
    assert "differs in code: x there, and nothing on" in disagreement(THREE, {0: {}, 1: {"code": "x"}})


def test_three_differences_are_named_and_the_rest_counted():
    chiefs = {f"recipe.setting{i}": "1" for i in range(5)}
    told = disagreement(THREE, {0: chiefs, 1: dict.fromkeys(chiefs, "2")})
    assert told.count("differs in") == 3
    assert "; and 2 more differences. " in told
    assert "; and 1 more difference. " in disagreement(THREE, {0: {}, 1: dict(list(chiefs.items())[:4])})


def test_a_long_value_is_cut():
    assert len(disagreement(THREE, {0: {"classes": "a" * 9999}, 1: {"classes": "b" * 9999}})) < 400
