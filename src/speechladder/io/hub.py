"""Models by name: a folder or file on disk, or OWNER/NAME of a Hugging Face hub, found before any job starts."""

import os
import re
from pathlib import Path

from speechladder.io.errors import UserError

_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def is_hub_name(given: str) -> bool:
    """Whether `given` is written as a hub writes its models: OWNER/NAME."""
    return _NAME.fullmatch(given) is not None


def config(name: str, field: str) -> Path:
    """config.json of a hub's model that can be had, fetched; raises UserError naming `field` where there is none."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json"))
    except Exception as error:  # the hub's client raises a dozen kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{field}: {name} gives no config.json ({first}); name a model that has one") from None


def require(name: str, field: str) -> None:
    """Raise UserError naming the configuration's `field` unless the hub's model can be had: cached, or with access.

    Nothing is downloaded. A model that asks for its terms to be accepted (gated) needs a token that has accepted them.
    """
    from huggingface_hub import auth_check, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    elsewhere = f"fetch it where there is a network (hf download {name} --local-dir FOLDER) and set {field}: FOLDER"
    try:
        auth_check(name)
    except GatedRepoError:
        what = "is gated: accept its terms on its page, then log in (hf auth login) or set HF_TOKEN"
    except RepositoryNotFoundError:
        what = "is not on the hub, or it is private and no token of yours may read it: correct the name"
    except (HTTPError, OSError) as error:
        why = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else f"{type(error).__name__}: {error}"
        what = f"is not in the cache and the hub did not answer ({why}): try again"
    else:
        return
    raise UserError(f"{field}: {name} {what}, or {elsewhere}")
