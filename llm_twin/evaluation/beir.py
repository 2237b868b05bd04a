"""Search benchmarks from outside: folders in BEIR's layout, and TREC's files of judgements and of runs.

A BEIR folder (Thakur et al. 2021) holds `corpus.jsonl` ({"_id", "title", "text"} a line), `queries.jsonl`
({"_id", "text"}) and `qrels/NAME.tsv` (query, document and grade set apart by tabs). The judgements may be TREC's
instead (query, iteration, document and grade, set apart by blanks), in `qrels/` or in a file `qrels.txt`; a header
is passed over in either. Every mistake is an InputError that names the file and the line. Queries without a
judgement above 0 are left out, as trec_eval does. Not covered: fetching a benchmark, and judgements that were
corrected by negative grades (they count as not relevant).
"""

import json
import math
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
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
_LAYOUTS = {3: (0, 1, 2), 4: (0, 2, 3)}
"""Fields of a line of judgements -> where its query, document and grade stand: BEIR's layout, and TREC's."""
_HEADED = ("score", "rel", "relevance", "grade", "label", "judgment", "judgement")
"""What a header calls the grade; any other word there is a mistake."""
_SET_APART = "query, document and grade set apart by tabs, or query, 0, document and grade by blanks"
_HOLDS = "a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/"
_ENDINGS = (".tsv", ".txt", ".qrels", ".qrel", ".trec")


@dataclass(frozen=True)
class Benchmark:
    """Documents to index (their ids are the benchmark's), and questions that judge documents, not chunks."""

    name: str
    documents: tuple[CleanDocument, ...]
    questions: tuple[Question, ...]


def read_beir(folder: Path, split: str = "test") -> Benchmark:
    """The benchmark in `folder`, judged by the file of `qrels/` named after `split`, or by the only one there is.

    Raises InputError for a file that is missing or broken, naming the line, and for a judgement that names a
    query or a document that is not there.
    """
    qrels = qrels_file(folder, split)
    corpus = {row.id: row for row in _rows(folder / "corpus.jsonl")}
    queries = {row.id: row.text for row in _rows(folder / "queries.jsonl")}
    questions = read_qrels(qrels, queries, corpus)
    return Benchmark(folder.resolve().name, tuple(_document(row) for row in corpus.values()), questions)


def read_qrels(
    path: Path, queries: Mapping[str, str] | None = None, corpus: Container[str] | None = None
) -> tuple[Question, ...]:
    """The judged queries of BEIR's or TREC's file as questions, those without a relevant document left out.

    The first line says which layout it is. Where `queries` (texts by id) and `corpus` (ids) are given, a judgement
    that names another is refused, as are a line of another layout, a document judged in two ways, and a file that
    judges nothing relevant.
    """
    judgements: Judgements = defaultdict(dict)
    for place, query, document, grade in _judgements(path):
        _check(query, queries, f"{place}: {query} is not in queries.jsonl")
        _check(document, corpus, f"{place}: {document} is not in corpus.jsonl")
        if judgements[query].setdefault(document, grade) != grade:
            raise InputError(f"{place}: {document} is judged twice for {query}", "remove one of the lines")
    found = tuple(
        Question(query, (queries or {}).get(query, ""), query, relevant)
        for query, grades in judgements.items()
        if (relevant := {name: grade for name, grade in grades.items() if grade > 0})
    )
    if not found:
        raise InputError(f"{path} judges no document relevant", "check which split it is")
    return found


def _check(name: str, known: Container[str] | None, said: str) -> None:
    if known is not None and name not in known:
        raise InputError(said, "the files do not belong together")


def read_run(path: Path) -> Ranked:
    """A TREC run: query, "Q0", document, rank, score and a name a line; best scores first.

    As trec_eval does, it ranks by score and not by the rank written there; of equal scores the last document by id
    comes first. Raises InputError for a file that is missing, empty or broken, naming the line.
    """
    if not path.is_file():
        raise InputError(
            f"there is no run {path}", "name a TREC file: query, Q0, document, rank, score, name"
        )
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
    if not scores:
        raise InputError(f"{path} ranks nothing", "name a TREC run")
    by_id = {query: sorted(found, reverse=True) for query, found in scores.items()}
    return Ranked({query: sorted(ids, key=lambda d: -scores[query][d]) for query, ids in by_id.items()})


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
        raise InputError(f"there is no file {path}", _HOLDS)
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}:{number} is no UTF-8: {error.reason}", "convert it") from error
            if text.strip():
                yield number, text


def qrels_file(folder: Path, split: str = "test") -> Path:
    """The file of `folder` that holds the judgements of `split`; InputError where that is none, or several."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", _HOLDS)
    places = [*(folder / "qrels").glob("*"), *folder.glob("qrels.*")]
    there = sorted(path for path in places if path.is_file() and path.suffix.lower() in _ENDINGS)
    found = [path for path in there if path.stem == split] or there
    if not found:
        raise InputError(f"there are no judgements in {folder}", _HOLDS)
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise InputError(f"{folder} has several files of judgements: {names}", f"call one {split}.tsv")
    return found[0]


def _judgements(path: Path) -> Iterator[tuple[str, str, str, int]]:
    """The place of each line that is no header, with its query, document and grade."""
    count = 0
    for number, line in _lines(path):
        place, fields = f"{path}:{number}", line.split("\t") if "\t" in line else line.split()
        if len(fields) not in ([count] if count else _LAYOUTS):
            wanted = count or "3 (BEIR) or 4 (TREC)"
            raise InputError(f"{place} has {len(fields)} fields, not {wanted}", _SET_APART)
        first, count = not count, len(fields)
        query, document, grade = (fields[i].strip() for i in _LAYOUTS[count])
        if not (first and grade.casefold() in _HEADED):
            yield place, query, document, _grade(grade, place)


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
