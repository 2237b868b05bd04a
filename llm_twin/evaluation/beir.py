"""Search benchmarks from outside: folders in BEIR's layout, and TREC's files of judgements and of runs.

A BEIR folder (Thakur et al. 2021) holds `corpus.jsonl` ({"_id", "title", "text"} a line), `queries.jsonl`
({"_id", "text"}) and `qrels/NAME.tsv` (a header, then query, document and grade set apart by tabs).
Every mistake is an InputError that names the file and the line. Queries without a judgement above 0 are left
out, as trec_eval does. Not covered: fetching a benchmark, and judgements that were corrected by negative grades
(they count as not relevant).
"""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llm_twin.errors import InputError
from llm_twin.evaluation.ablation import Ranked
from llm_twin.evaluation.retrieval import Question
from llm_twin.text import digest
from llm_twin.types import CleanDocument, Document

AUTHOR = "benchmark"
Judgements = dict[str, dict[str, int]]
"""Query id -> document id -> grade."""


@dataclass(frozen=True)
class Benchmark:
    """Documents to index (their ids are the benchmark's), and questions that judge documents, not chunks."""

    name: str
    documents: tuple[CleanDocument, ...]
    questions: tuple[Question, ...]


def read_beir(folder: Path, split: str = "test") -> Benchmark:
    """The benchmark in `folder`, judged by `qrels/SPLIT.tsv`, or by the only file there is in `qrels/`.

    Raises InputError for a file that is missing or broken, naming the line, and for a judgement that names a
    query or a document that is not there.
    """
    qrels = _qrels_file(folder, split)
    corpus = {row.id: row for row in _rows(folder / "corpus.jsonl")}
    queries = {row.id: row.text for row in _rows(folder / "queries.jsonl")}
    judgements = _tsv(qrels, set(queries), set(corpus))
    questions = questions_from(judgements, queries)
    if not questions:
        raise InputError(f"{qrels} judges no document relevant", "check which split it is")
    return Benchmark(folder.resolve().name, tuple(_document(row) for row in corpus.values()), questions)


def questions_from(judgements: Judgements, queries: dict[str, str]) -> tuple[Question, ...]:
    """The judged queries as questions, those without a relevant document left out."""
    return tuple(
        Question(query, queries.get(query, ""), query, relevant)
        for query, grades in judgements.items()
        if (relevant := {name: grade for name, grade in grades.items() if grade > 0})
    )


def read_qrels(path: Path) -> Judgements:
    """A TREC file of judgements: query, iteration, document and grade a line, set apart by blanks."""
    judgements: Judgements = defaultdict(dict)
    for place, fields in _fields(path, 4):
        judgements[fields[0]][fields[2]] = _grade(fields[3], place)
    return dict(judgements)


def read_run(path: Path) -> Ranked:
    """A TREC run: query, "Q0", document, rank, score and a name a line; best scores first, ties by document id.

    trec_eval ranks by score and ignores the rank; so does this.
    """
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for place, (query, _, document, _, score, _) in _fields(path, 6):
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise InputError(f"{place}: {score!r} is no score", "write a number")
        if document in scores[query]:
            raise InputError(f"{place}: {document} is ranked twice for {query}", "remove one of the lines")
        scores[query][document] = value
    return Ranked({query: sorted(found, key=lambda d: (-found[d], d)) for query, found in scores.items()})


@dataclass(frozen=True)
class _Row:
    id: str
    title: str
    text: str


def _rows(path: Path) -> Iterator[_Row]:
    seen: set[str] = set()
    for number, line in _lines(path):
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place} is no JSON: {error}", "repair the line") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str) or "_id" not in row:
            raise InputError(f'{place} has no "_id" and "text"', "see the layout of a BEIR folder")
        name = str(row["_id"])
        if name in seen:
            raise InputError(f"{place}: the id {name} is there twice", "remove one of the lines")
        seen.add(name)
        yield _Row(name, str(row.get("title") or ""), row["text"])


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, numbered from 1."""
    if not path.is_file():
        raise InputError(f"there is no {path}", "a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/")
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}:{number} is no UTF-8: {error.reason}", "convert it") from error
            if text.strip():
                yield number, text


def _qrels_file(folder: Path, split: str) -> Path:
    wanted = folder / "qrels" / f"{split}.tsv"
    there = sorted((folder / "qrels").glob("*.tsv"))
    if wanted in there:
        return wanted
    if len(there) == 1:
        return there[0]
    known = ", ".join(path.stem for path in there) or "none"
    raise InputError(f"there is no {wanted}", f"splits in {folder / 'qrels'}: {known}")


def _tsv(path: Path, queries: set[str], corpus: set[str]) -> Judgements:
    judgements: Judgements = defaultdict(dict)
    for number, line in _lines(path):
        place = f"{path}:{number}"
        fields = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE))
        if len(fields) != 3:
            raise InputError(f"{place} has {len(fields)} fields, not 3", "set them apart by tabs")
        if number == 1 and not _is_whole(fields[2]):
            continue  # the header
        query, document, grade = fields
        for name, known, what in ((query, queries, "queries"), (document, corpus, "corpus")):
            if name not in known:
                raise InputError(
                    f"{place}: {name} is not in {what}.jsonl", "the files do not belong together"
                )
        judgements[query][document] = _grade(grade, place)
    return dict(judgements)


def _fields(path: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    for number, line in _lines(path):
        fields = line.split()
        if len(fields) != count:
            raise InputError(f"{path}:{number} has {len(fields)} fields, not {count}", "is it a TREC file?")
        yield f"{path}:{number}", fields


def _grade(text: str, place: str) -> int:
    if not _is_whole(text):
        raise InputError(f"{place}: {text!r} is no grade", "write a whole number")
    return int(text)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _document(row: _Row) -> CleanDocument:
    document = Document(
        id=row.id,
        author=AUTHOR,
        kind="article",
        title=row.title,
        text=row.text,
        source=f"benchmark:{row.id}",
        digest=digest(row.title, row.text),
    )
    return CleanDocument(document=document, text=row.text)
