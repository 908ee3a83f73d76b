"""Parquet tables and their schemas. A table is written atomically, and checked against its schema when it is read."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from speechladder.io.errors import UserError
from speechladder.io.files import atomic

# A timed label: word or phone, with start and end in seconds from the start of the utterance.
SPAN = pa.struct([("label", pa.string()), ("start", pa.float64()), ("end", pa.float64())])

ALIGNMENT = pa.schema(
    [
        ("id", pa.string()),  # utterance
        ("words", pa.list_(SPAN)),  # no silences
        ("phones", pa.list_(SPAN)),  # ARPAbet, stress digits where known, SIL; contiguous from 0 to `seconds`
        ("seconds", pa.float64()),  # duration of the utterance
        ("aligner", pa.string()),
    ]
)
# Where the files of a tar lie, so that each can be read without unpacking any.
INDEX = pa.schema([("member", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])  # offset and size in bytes
UNITS = pa.schema([("id", pa.string()), ("units", pa.list_(pa.uint16()))])
# Units that are not 50 a second: the user's own (units.source: external), and segments (units.segments). The metadata
# has `rate`, frames per second, 0 for none; no UNITS table has it.
EXTERNAL_UNITS = pa.schema(
    [
        *UNITS,
        ("durations", pa.list_(pa.uint16())),  # of each unit, in frames at `rate`; null where each is one frame
        ("seconds", pa.float64()),  # of the utterance
    ]
)
# How often each phone (without stress) has each unit, over the 50 Hz frames of the train split.
PHONE_UNITS = pa.schema([("phone", pa.string()), ("unit", pa.uint16()), ("frames", pa.int64())])
ITEMS = pa.schema(
    [
        ("item", pa.string()),  # unique: {id}|{good or bad}|{voice}
        ("id", pa.string()),  # the pair; intervals resample ids
        ("voice", pa.string()),
        ("correct", pa.bool_()),
        ("type", pa.string()),  # phenomenon, topic or frequency band
        ("split", pa.string()),  # of an official benchmark: dev or test; otherwise ""
        ("two", pa.string()),  # shared by the two pairs of a crossed two; "" for a pair that stands alone
        ("text", pa.string()),  # normalised
        ("words", pa.list_(SPAN)),
        ("phones", pa.list_(SPAN)),
        ("seconds", pa.float64()),
        ("audio", pa.binary()),  # FLAC, 16 kHz, mono
    ]
)
ITEM_TOKENS = pa.schema([("item", pa.string()), ("tokens", pa.list_(pa.uint16()))])
UTTERANCES = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("shard", pa.int32()),
        ("speaker", pa.string()),
        ("seconds", pa.float64()),
        ("frames", pa.int32()),  # 50 Hz
    ]
)
TOKEN_INDEX = pa.schema(
    [("id", pa.string()), ("offset", pa.int64()), ("length", pa.int32()), ("seconds", pa.float64())]
)
SCORES = pa.schema(
    [
        ("item", pa.string()),
        ("id", pa.string()),
        ("voice", pa.string()),
        ("correct", pa.bool_()),
        ("type", pa.string()),
        ("split", pa.string()),
        ("two", pa.string()),
        ("seed", pa.int32()),
        ("nll", pa.float64()),  # nats, sum over tokens
        ("tokens", pa.int32()),
        ("span_nll", pa.float64()),  # nats, sum over the tokens after the beginning that the halves of the pair share
        ("span_tokens", pa.int32()),  # at least one
        ("layer_nll", pa.list_(pa.float64())),  # nats, one per layer, embedding first; empty when layers are off
        ("layer_span_nll", pa.list_(pa.float64())),  # likewise
    ]
)
# Of a model that others trained: `version` is speech, text or phones.
EXTERNAL_SCORES = pa.schema(
    [("version", pa.string()), ("task", pa.string()), *(field for field in SCORES if "layer" not in field.name)]
)
PROMPTS = pa.schema(
    [
        ("item", pa.string()),  # unique: {id}|prompt or {id}|whole
        ("id", pa.string()),  # the prompt; intervals resample ids
        ("part", pa.string()),  # prompt: up to the cut; whole: prompt and true continuation
        ("voice", pa.string()),
        ("text", pa.string()),  # normalised; the prompt's words are the first of the whole's
        ("words", pa.list_(SPAN)),
        ("phones", pa.list_(SPAN)),
        ("seconds", pa.float64()),
        ("audio", pa.binary()),  # FLAC, 16 kHz, mono; the prompt's samples are the first of the whole's
    ]
)
CONTINUATIONS = pa.schema(
    [
        ("id", pa.string()),  # the prompt
        ("seed", pa.int32()),  # the model's; -1 for the true continuation, -2 for babble of the bigram model
        ("sample", pa.int32()),  # from 0; -1 for the true continuation
        ("tokens", pa.list_(pa.uint16())),  # without specials, without the prompt
        ("symbols", pa.list_(pa.string())),  # the same as the rung's symbols
        ("ended", pa.bool_()),  # the model produced </s> before the time limit
    ]
)
TRANSCRIPTS = pa.schema(
    [
        ("id", pa.string()),
        ("seed", pa.int32()),
        ("sample", pa.int32()),
        ("transcript", pa.string()),  # normalised by the ASR's normaliser
        ("direct", pa.string()),  # rungs of phones: words by the lexicon, without speech and ASR; else empty
        ("seconds", pa.float64()),  # of the audio that the ASR transcribed; 0 without audio
    ]
)
REFERENCE = pa.schema(
    [
        ("path", pa.string()),  # natural, tts, resynthesis: the source of the true continuation's audio
        ("id", pa.string()),  # the prompt
        ("reference", pa.string()),  # the true text; it and the transcript are normalised by the ASR's normaliser
        ("transcript", pa.string()),
    ]
)
JUDGED = pa.schema(
    [
        ("rung", pa.string()),
        ("path", pa.string()),  # transcript, direct; of the reference: true, shuffled
        ("id", pa.string()),
        ("seed", pa.int32()),
        ("sample", pa.int32()),
        ("nll", pa.float64()),  # nats of the continuation given the prompt
        ("words", pa.int32()),  # of the normalised continuation
        ("tokens", pa.int32()),  # the judge's
    ]
)
LEARNING = pa.schema(
    [
        ("item", pa.string()),
        ("id", pa.string()),
        ("voice", pa.string()),
        ("correct", pa.bool_()),
        ("two", pa.string()),
        ("task", pa.string()),
        ("seed", pa.int32()),
        ("train_tokens", pa.int64()),  # tokens that these weights have seen
        ("final", pa.bool_()),  # the weights kept, the best validated; else a snapshot at a planned step
        ("nll", pa.float64()),
        ("tokens", pa.int32()),
        ("span_nll", pa.float64()),
        ("span_tokens", pa.int32()),
    ]
)


def write_table(path: str | Path, rows: list[dict[str, Any]] | pa.Table, schema: pa.Schema, **metadata: str) -> None:
    """Write rows under `schema`, atomically; `metadata` becomes the key-value metadata of the schema."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=schema)
    table = table.cast(schema).replace_schema_metadata(metadata or None)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: str | Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a table and check it against `schema`; raises UserError naming the file and the column."""
    try:
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the stage that makes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); delete it and run again") from None
    for field in schema if columns is None else [schema.field(c) for c in columns]:
        if field.name not in table.schema.names:
            raise UserError(
                f"{path}: column '{field.name}' is missing; expected {', '.join(schema.names)}; another version wrote "
                "the file: delete it and run again, which makes it anew"
            )
        if table.schema.field(field.name).type != field.type:
            raise UserError(
                f"{path}: column '{field.name}' is {table.schema.field(field.name).type}, expected {field.type}"
            )
    return table
