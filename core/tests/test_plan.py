"""Order, conflicts and exclusive slots are settled before anything runs, and explained."""

from __future__ import annotations

import itertools

import pytest
from mezzotint import Extension, hookimpl
from mezzotint.errors import PlanError, PluginError


def make(name, *, before=(), after=(), hook="step_end", at=None, conflicts=()):
    """An extension class with one hook that does nothing."""

    def implementation(self):
        return None

    implementation.__name__ = hook
    options = {"before": before, "after": after, "at": at}
    return type(
        name.title().replace("-", ""),
        (Extension,),
        {hook: hookimpl(**options)(implementation), "__module__": __name__},
        name=name,
        conflicts=conflicts,
    )


def order(pipe, *classes, hook="step_end"):
    return [entry.label for entry in pipe.plan("x", use=[cls() for cls in classes]).points[hook]]


def test_ties_go_by_name_whatever_the_order_of_use(pipe):
    classes = [make("cherry"), make("apple"), make("banana")]
    orders = {tuple(order(pipe, *permuted)) for permuted in itertools.permutations(classes)}
    assert orders == {("apple", "banana", "cherry")}


def test_before_and_after_are_honoured_whatever_the_order_of_use(pipe):
    classes = [
        make("apple", after="cherry"),
        make("banana", before=["apple"]),
        make("cherry", after=["banana"]),
    ]
    orders = {tuple(order(pipe, *permuted)) for permuted in itertools.permutations(classes)}
    assert orders == {("banana", "cherry", "apple")}


def test_several_of_one_name_keep_the_order_of_use_and_are_numbered(pipe):
    apple = make("apple")
    assert order(pipe, apple, apple, apple) == ["apple", "apple#2", "apple#3"]


def test_after_a_name_goes_after_all_of_that_name(pipe):
    apple, zebra = make("apple", after="zebra"), make("zebra")
    assert order(pipe, apple, zebra, zebra) == ["zebra", "zebra#2", "apple"]


def test_a_cycle_is_printed(pipe):
    classes = [make("a", after="c"), make("b", after="a"), make("c", after="b")]
    with pytest.raises(
        PlanError,
        match=r"step_end: before= and after= form a cycle: (a → b → c → a|b → c → a → b|c → a → b → c)",
    ):
        order(pipe, *classes)


def test_after_itself_is_a_cycle(pipe):
    with pytest.raises(PlanError, match="a → a"):
        order(pipe, make("a", after="a"))


def test_a_name_that_is_not_in_use_is_no_error_and_is_shown(pipe):
    plan = pipe.plan("x", use=[make("a", after="lora")()])
    assert "after lora (not in use)" in plan.explain()


def test_two_claims_on_an_exclusive_slot_name_both(pipe):
    with pytest.raises(PlanError, match=r"guidance takes one extension, and two claim it: a .* and b"):
        pipe.plan("x", use=[make("b", hook="guidance")(), make("a", hook="guidance")()])


def test_two_claims_on_one_block_name_the_block_and_both(pipe):
    first, second = make("a", hook="unet_block", at="mid"), make("b", hook="unet_block", at=("down.*", "mid"))
    with pytest.raises(PlanError, match=r"unet_block at mid takes one extension.*a .* and b"):
        pipe.plan("x", use=[first(), second()])


def test_claims_on_different_blocks_go_together(pipe):
    first, second = make("a", hook="unet_block", at="mid"), make("b", hook="unet_block", at="down.*")
    plan = pipe.plan("x", use=[first(), second()])
    assert [entry.at for entry in plan.points["unet_block"]] == [("mid",), ("down.0", "down.1")]


def test_a_probe_cannot_look_into_a_replaced_layer(pipe):
    replaces = make("replaces", hook="attention_processor", at="**.attn2")
    probes = make("probes", hook="attention_probe", at="mid.**.attn2")
    with pytest.raises(
        PlanError, match="replaces .* replaces the attention of mid.*attention_probe of probes"
    ):
        pipe.plan("x", use=[replaces(), probes()])


def test_a_declared_conflict_names_both(pipe):
    with pytest.raises(PlanError, match=r"cache .* declares a conflict with control"):
        pipe.plan("x", use=[make("cache", conflicts="control")(), make("control")()])


def test_an_extension_in_conflict_with_itself_is_used_once(pipe):
    single = make("single", conflicts="single")
    assert order(pipe, single, make("other")) == ["other", "single"]
    with pytest.raises(PlanError, match=r"single .* may be used once in a run; give one of it"):
        pipe.plan("x", use=[single(), single()])


def test_the_same_object_twice_is_refused(pipe):
    extension = make("a")()
    with pytest.raises(PlanError, match="listed twice"):
        pipe.plan("x", use=[extension, extension])


def test_a_class_instead_of_an_object_says_what_to_write(pipe):
    with pytest.raises(PluginError, match=r"write A\(…\)"):
        pipe.plan("x", use=[make("a")])


def test_a_pattern_that_matches_no_block_suggests_one(pipe):
    with pytest.raises(PlanError, match=r"at 'upp.0' matches no place; did you mean up\.0"):
        pipe.plan("x", use=[make("a", hook="unet_block_output", at="upp.0")()])


def test_a_pattern_may_come_from_the_options(pipe):
    class Chosen(Extension, name="chosen"):
        where: str = "mid"

        @hookimpl(at=lambda extension: extension.where)
        def unet_block_output(self, hidden_states):
            return None

    plan = pipe.plan("x", use=[Chosen(where="up.*")])
    assert plan.points["unet_block_output"][0].at == ("up.0", "up.1")


def test_explain_is_a_table_of_who_acts_where_and_why(pipe):
    plan = pipe.plan(
        "x", use=[make("b", after="a")(), make("a")(), make("mid-only", hook="unet_block", at="mid")()]
    )
    lines = [line.split("  ") for line in plan.explain().splitlines()]
    assert [part.strip() for part in lines[0] if part] == ["hook point", "slot", "extension", "from", "why"]
    assert "unet_block" in plan.explain()
    rows = plan.rows()
    assert [(row["point"], row["extension"], row["why"]) for row in rows] == [
        ("unet_block", "mid-only", "alone here at mid"),
        ("step_end", "a", "by name"),
        ("step_end", "b", "after a"),
    ]


def test_planning_runs_nothing(pipe):
    calls = []

    class Counts(Extension, name="counts"):
        @hookimpl
        def patch_unet(self, unet):
            calls.append("patch")

        @hookimpl
        def step_begin(self):
            calls.append("step")

    pipe.plan("x", use=[Counts()])
    assert calls == []


def test_more_than_nine_of_one_name_keep_their_order(pipe):
    apple = make("apple")
    assert order(pipe, *[apple] * 11) == ["apple", *(f"apple#{k}" for k in range(2, 12))]


def test_one_extension_needs_no_list(pipe):
    plan = pipe.plan("x", use=make("a")())
    assert [use.label for use in plan.uses] == ["a"]
