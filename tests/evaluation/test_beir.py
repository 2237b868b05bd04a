from pathlib import Path

import ir_measures
import pytest

from llm_twin.errors import InputError
from llm_twin.evaluation.ablation import compare
from llm_twin.evaluation.beir import qrels_file, read_beir, read_qrels, read_run

CORPUS = '{"_id": "d1", "title": "Owls", "text": "Owls hunt."}\n\n{"_id": 2, "text": "Mice\\nhide."}\n'
QUERIES = '{"_id": "q1", "text": "who hunts?"}\n{"_id": "q2", "text": "who hides?", "metadata": {}}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\nq2\t2\t1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "owls" / "qrels").mkdir(parents=True)
    (tmp_path / "owls" / "corpus.jsonl").write_text(CORPUS)
    (tmp_path / "owls" / "queries.jsonl").write_text(QUERIES)
    (tmp_path / "owls" / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path / "owls"


def test_a_beir_folder_is_read_whole(folder: Path) -> None:
    benchmark = read_beir(folder)
    assert benchmark.name == "owls"
    assert [(d.document.id, d.document.title, d.text) for d in benchmark.documents] == [
        ("d1", "Owls", "Owls hunt."),
        ("2", "", "Mice\nhide."),
    ]
    assert [(q.id, q.text, dict(q.relevant)) for q in benchmark.questions] == [
        ("q1", "who hunts?", {"d1": 2}),
        ("q2", "who hides?", {"2": 1}),
    ]
    assert {q.document_id for q in benchmark.questions} == {"q1", "q2"}


def test_the_split_asked_for_is_taken_and_the_only_one_where_there_is_one(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    assert len(read_beir(folder).questions) == 2
    (folder / "qrels" / "train.tsv").write_text("q1\td1\t1\n")  # without a header
    assert len(read_beir(folder, "train").questions) == 1
    with pytest.raises(InputError, match=r"qrels/dev\.tsv, qrels/train\.tsv") as caught:
        read_beir(folder)
    assert "test.tsv" in caught.value.way_out


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("corpus.jsonl", CORPUS + "{", r"corpus\.jsonl:4 is no JSON"),
        ("corpus.jsonl", CORPUS + "[1]", r"corpus\.jsonl:4 has no \"_id\""),
        ("corpus.jsonl", CORPUS + '{"_id": "x", "text": 5}', r"corpus\.jsonl:4 has no"),
        ("corpus.jsonl", CORPUS + '{"_id": "2", "text": ""}', r"corpus\.jsonl:4: the id 2 is there twice"),
        ("queries.jsonl", QUERIES + '{"text": "?"}', r"queries\.jsonl:3 has no"),
        ("qrels/test.tsv", QRELS + "q1 0 d1 1", r"test\.tsv:5 has 4 fields, not 3"),
        ("qrels/test.tsv", "q1 0 d1 1\nq1\td1\t1\n", r"test\.tsv:2 has 3 fields, not 4"),
        ("qrels/test.tsv", "q1 d1\n", r"test\.tsv:1 has 2 fields, not 3 \(BEIR\) or 4 \(TREC\)"),
        ("qrels/test.tsv", "q1\td1\tyes\n", r"test\.tsv:1: 'yes' is no grade"),
        ("qrels/test.tsv", QRELS + QRELS, r"test\.tsv:5: 'score' is no grade"),
        ("qrels/test.tsv", QRELS + "q1\td1\t1", r"test\.tsv:5: d1 is judged twice for q1"),
        ("qrels/test.tsv", "q1 0 d9 1\n", r"test\.tsv:1: d9 is not in corpus"),
        ("qrels/test.tsv", QRELS + "q1\td9\t1", r"test\.tsv:5: d9 is not in corpus"),
        ("qrels/test.tsv", QRELS + "q9\td1\t1", r"test\.tsv:5: q9 is not in queries"),
        ("qrels/test.tsv", QRELS + "q1\td1\t0.5", r"test\.tsv:5: '0\.5' is no grade"),
        ("qrels/test.tsv", "q1\td1\t0\n", "no document relevant"),
    ],
)
def test_a_broken_file_is_named_with_its_line(folder: Path, file: str, text: str, said: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=said):
        read_beir(folder)


def test_bytes_that_are_no_utf8_and_missing_files_are_named(folder: Path) -> None:
    (folder / "corpus.jsonl").write_bytes(CORPUS.encode() + b'{"_id": "\xff"}\n')
    with pytest.raises(InputError, match=r"corpus\.jsonl:4 is no UTF-8"):
        read_beir(folder)
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"there is no .*corpus\.jsonl"):
        read_beir(folder)
    with pytest.raises(InputError, match="there is no folder nowhere"):
        read_beir(Path("nowhere"))


@pytest.mark.parametrize("header", ["", "qid iter docid rel\n", "query-id\titeration\tcorpus-id\tscore\n"])
@pytest.mark.parametrize("place", ["qrels/test.tsv", "qrels/test.txt", "qrels.txt"])
def test_judgements_in_trecs_layout_are_those_of_beirs(folder: Path, place: str, header: str) -> None:
    of_beir = read_beir(folder)
    (folder / "qrels" / "test.tsv").unlink()
    (folder / place).write_text(f"{header}q1 0 d1 2\nq1\t0\t2\t0\nq2  Q0  2 1\nq1 0 d1 2\n")
    assert read_beir(folder) == of_beir


def test_several_files_that_may_be_meant_are_named(folder: Path) -> None:
    (folder / "qrels" / "test.txt").write_text("q1 0 d1 1\n")
    with pytest.raises(InputError, match=r"qrels/test\.tsv, qrels/test\.txt"):
        qrels_file(folder)
    (folder / "qrels" / "test.txt").unlink()
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(InputError, match="no judgements"):
        qrels_file(folder)


def test_trec_files_score_as_ir_measures_scores_them(tmp_path: Path) -> None:
    qrels, run = tmp_path / "qrels.txt", tmp_path / "run.txt"
    qrels.write_text("1 0 a 1\n1 0 b 0\n2 0 c 2\n2 0 d 1\n3 0 a 1\n")
    # Ranks that contradict the scores, and a tie: scores decide.
    run.write_text("1 Q0 b 1 0.2 r\n1 Q0 a 2 0.9 r\n2 Q0 d 1 3e1 r\n2 Q0 x 2 7 r\n2 Q0 c 3 5 r\n")
    questions = read_qrels(qrels)
    found = compare(questions, {"r": read_run(run)}, "r", "document").arms[0].values
    measures = [ir_measures.parse_measure(name) for name in found]
    reference = ir_measures.calc_aggregate(
        measures, list(ir_measures.read_trec_qrels(str(qrels))), list(ir_measures.read_trec_run(str(run)))
    )
    assert {k: v.value for k, v in found.items()} == pytest.approx({str(m): v for m, v in reference.items()})
    assert found["RR@10"].value == pytest.approx((1 + 1 + 0) / 3)


def test_of_equal_scores_the_order_is_trec_evals(tmp_path: Path) -> None:
    qrels, run = (
        {"1": {"b": 1, "d": 2}, "2": {"a": 1}},
        {"1": dict.fromkeys("acbd", 1.0), "2": {"b": 3.0, "a": 3.0}},
    )
    (tmp_path / "qrels").write_text("1 0 b 1\n1 0 d 2\n2 0 a 1\n")
    lines = [f"{q} Q0 {d} 0 {score} r" for q, ranked in run.items() for d, score in ranked.items()]
    (tmp_path / "run").write_text("\n".join(lines))
    measures = [ir_measures.parse_measure(name) for name in ("nDCG@10", "R@2", "RR")]
    by_trec_eval = ir_measures.calc_aggregate(measures, qrels, run)
    ranked = read_run(tmp_path / "run")
    assert ranked.ids == {"1": ["d", "c", "b", "a"], "2": ["b", "a"]}
    names = ("nDCG@10", "R@2", "RR@10")
    found = compare(read_qrels(tmp_path / "qrels"), {"r": ranked}, "r", "document", names).arms[0].values
    assert [found[name].value for name in names] == pytest.approx([by_trec_eval[m] for m in measures])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 Q0 a 1 0.5", "run:2 has 5 fields"),
        ("1 Q0 a 1 x r", "'x' is no score"),
        ("1 Q0 b 2 1 r", "ranked twice"),
    ],
)
def test_a_broken_run_is_refused(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "run").write_text(f"1 Q0 b 1 0.2 r\n{line}\n")
    with pytest.raises(InputError, match=said):
        read_run(tmp_path / "run")


def test_a_run_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run"):
        read_run(tmp_path / "run")
    (tmp_path / "run").write_text("\n")
    with pytest.raises(InputError, match="ranks nothing"):
        read_run(tmp_path / "run")
