"""The rules of rationale quality on made examples whose right order is obvious, and on written-out figures."""

import pytest

from retune.evaluation import rationale

DOCUMENT = (
    "华辰科技2023年营业收入12.5亿元，同比增长18.2%，净利润1.1亿元。研发投入占营收的9.6%，拥有发明专利210项。"
    "前五大客户占收入的61%，资产负债率为58%。产品覆盖工业机器人、伺服系统和视觉检测三个板块。"
)
GOOD = (
    "首先，营业收入12.5亿元，同比增长18.2%，增速较快，说明产品需求旺盛。其次，研发投入占营收的9.6%，发明专利210项，"
    "例如伺服系统已自主研发，技术壁垒较高。但是前五大客户占收入的61%，客户集中度偏高，议价能力受到制约。"
    "综合来看，公司竞争力较强，因此给出8分。"
)
VAGUE = "这家公司总体还不错。各方面表现都可以。未来值得期待。"
LOOP = "营业收入12.5亿元，" * 30
SHUFFLED = "给出8分。天气晴朗适合出游。前五大客户占收入的61%。他昨天读完了小说。发明专利210项。"
INVENTED = (
    "首先，营业收入99.7亿元，同比增长77%，增速较快，说明产品需求旺盛。其次，研发投入占营收的31%，发明专利870项。"
    "但是客户集中度偏高。综合来看，公司竞争力较强，因此给出8分。"
)
TERMS = rationale.built_in()


def measured(text, terms=TERMS):
    return rationale.measure(text, DOCUMENT, terms)


@pytest.mark.parametrize("name", rationale.MEASURES)
def test_a_full_argument_is_better_than_a_vague_one_and_both_than_nothing(name):
    good, vague, nothing = (getattr(measured(text), name) for text in (GOOD, VAGUE, ""))
    assert good > vague >= nothing
    assert nothing == 0
    assert good > 0.8


def test_a_text_that_repeats_itself_or_jumps_about_is_not_coherent():
    good, loop, shuffled = (measured(text).coherence for text in (GOOD, LOOP, SHUFFLED))
    assert good > 0.8
    assert loop < 0.1
    assert shuffled < 0.5
    assert measured(GOOD + GOOD).coherence < good


def test_figures_that_stand_in_no_document_are_counted_apart_and_are_not_specific():
    good, invented = measured(GOOD), measured(INVENTED)
    assert (good.figures, good.unsupported) == (5, 0)
    assert (invented.figures, invented.unsupported) == (4, 4)
    assert invented.specificity == 0
    assert invented.sufficiency < good.sufficiency


def test_numbers_are_compared_by_value_and_codes_as_they_stand():
    source = "营收1,200万元，毛利率30.50%，型号SV660N，故障E100.1，2023年"
    text = (
        "1. 营收1200万元\n2. 毛利率３０.5%，2023年\n3. sv660n与e100.1一致\n4. sv660、e100、1300不在其中\n评分：7，共7分"
    )
    known, unknown = rationale.figures(rationale.normalised(text), rationale.normalised(source))
    assert known == {"1200", "30.5", "2023", "sv660n", "e100.1"}
    assert unknown == {"sv660", "e100", "1300"}


def test_a_score_is_no_figure_but_minutes_are():
    known, unknown = rationale.figures("给出8分，评分为6，共15分钟，得分: 7.5", "")
    assert (known, unknown) == (set(), {"15"})


def test_each_measure_is_its_written_formula():
    """Three sentences: one with a connective, each shares a word with a neighbour, all runs differ."""
    text = "订单增长较快。订单来自海外市场，因此收入稳定。收入的前景良好。"
    found = rationale.measure(text, "订单来自海外", ["订单", "收入", "海外", "海外市场"])
    assert found.coherence == pytest.approx((2 / 3 + 1) / 2)
    assert found.terms == pytest.approx(3 / 5)  # 订单, 收入, 海外市场; 海外 lies inside the longer one
    assert found.sufficiency == pytest.approx((1 / 3 + 1 + 0 + 1) / 4)
    assert found.specificity == 0
    example = rationale.measure("比如订单12个，客户3家。", "订单12个，客户3家", [])
    assert example.specificity == pytest.approx(3 / 4)


def test_without_terms_their_use_has_no_measure():
    assert measured(GOOD, terms=[]).terms is None
    assert measured("", terms=[]).terms is None


def test_english_is_measured_as_well():
    document = "The firm sold 1,250 units in 2023 and spent 12% of its revenue on research."
    good = (
        "First, the firm sold 1,250 units in 2023. However, research took 12% of revenue, for example on new units. "
        "Therefore the firm earns a score of 7."
    )
    found = rationale.measure(good, document, ["revenue"])
    vague = rationale.measure("It is nice. We like it.", document, ["revenue"])
    assert (found.figures, found.unsupported) == (3, 0)
    for name in rationale.MEASURES:
        assert getattr(found, name) > getattr(vague, name), name


def test_every_measure_lies_between_0_and_1():
    for text in (GOOD, VAGUE, LOOP, SHUFFLED, INVENTED, "。。。", "7", "\n- a\n- b", GOOD * 20):
        found = measured(text)
        assert all(0 <= getattr(found, name) <= 1 for name in rationale.MEASURES)
