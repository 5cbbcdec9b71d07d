"""Whether MLflow and Prefect answer: each is asked once, with a deadline, before any work starts.

MLflow's own client retries for minutes, and Prefect's raises from deep inside its engine. Here one plain request is
sent, and a failure is told with the variable that names the address, its value, what was found and how to fix it.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from components.base.errors import RunError
from flows.tracking.stored_places import database_file

if TYPE_CHECKING:
    from prefect.settings import Settings as PrefectSettings

DEADLINE_S = 5.0
"""Seconds in which a service must answer, name resolution included."""

MLFLOW_VARIABLE, PREFECT_VARIABLE = "MLFLOW_TRACKING_URI", "PREFECT_API_URL"
DATABASES = ("postgresql", "mysql", "mssql")  # schemes, besides sqlite
UNSET_MLFLOW = f"or unset {MLFLOW_VARIABLE}, so that runs are recorded in mlruns/mlflow.db"
UNSET_PREFECT = (
    f"or unset {PREFECT_VARIABLE}, so that each run starts a server of its own (`prefect config unset`, too)"
)
MLFLOW_PATH = "/api/2.0/mlflow/experiments/search"
PREFECT_CLOUD = "prefect.cloud"
HEALTH, VERSION = "health", "admin/version"  # paths of Prefect's API: without a login, and with one where one is asked
LONGEST_ANSWER = 160  # characters of an answer that a message shows

T = TypeVar("T")


@dataclass(frozen=True)
class ServiceProblem:
    """Why a service cannot be used."""

    place: str  # the variable and its value, or what is used without it
    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.found}; {self.fix}"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, as far as it is used here."""

    status: int
    kind: str  # media type
    text: str

    @property
    def is_page(self) -> bool:
        """Whether it is a web page, which an API never sends."""
        return "html" in self.kind or self.text.lstrip()[:1] == "<"

    @property
    def words(self) -> str:
        """Status and the beginning of the text, on one line; of a page nothing but that it is one."""
        line = "a web page" if self.is_page else " ".join(self.text.split())[:LONGEST_ANSWER]
        return f"it answers {self.status}{f' ({line})' if line else ''}"


@cache
def require_mlflow(address: str, own: Path) -> None:
    """Raise RunError where the MLflow store at `address` cannot be used; a store that answered is not asked again.

    Args:
        address: of the store.
        own: the folder of the checkout's own database, which is made where it does not exist.
    """
    problem = find_mlflow_problem(address, own)
    if problem:
        raise RunError(str(problem))


def require_prefect() -> None:
    """Raise RunError where Prefect's settings name an API that does not answer."""
    problem = find_prefect_problem()
    if problem:
        raise RunError(str(problem))


def masked(address: str) -> str:
    """An address as a message may show it: without user, password and query, which can hold a token."""
    if address.startswith("sqlite"):
        return address
    start, mark, rest = address.rpartition("@")
    if mark:
        scheme, slashes, _ = start.partition("://")
        address = f"{scheme}://***@{rest}" if slashes else f"***@{rest}"
    return re.sub(r"\?.*", "?***", address)


# --- MLflow


def find_mlflow_problem(address: str, own: Path) -> ServiceProblem | None:
    """Why the MLflow store at `address` cannot be used; None where it answers, or is of a kind that is not asked.

    Arguments as above.
    """
    scheme = address.partition(":")[0].partition("+")[0].lower() if "://" in address else ""
    if scheme in ("http", "https"):
        found = _ask_mlflow(address)
    elif scheme == "sqlite":
        found = _examine_sqlite(address, own)
    elif scheme in DATABASES:
        found = _connect(address)
    else:
        found = _refuse_scheme(address)
    if found is None:
        return None
    return ServiceProblem(_place(address), *found)


def unusable_store(address: str, error: Exception) -> RunError:
    """The error for a database that answers, but that MLflow cannot read, as one of another version of MLflow."""
    text = " ".join(str(error).replace(address, masked(address)).split())[:400]
    return RunError(
        f"{_place(address)}: MLflow cannot use it: {type(error).__name__}: {text}; keep a copy, then "
        f"`mlflow db upgrade {quote(masked(address))}` for a database of an older MLflow, or name another one"
    )


def deleted_experiment(address: str, name: str, number: str) -> RunError:
    """The error for an experiment that someone deleted in MLflow: it keeps its name, and takes no runs."""
    where = "" if os.environ.get(MLFLOW_VARIABLE) else f"{MLFLOW_VARIABLE}={quote(address)} "
    return RunError(
        f"{_place(address)}: experiment {name!r} (id {number}) of study.name (params.yaml) was deleted there: "
        f"restore it with `{where}mlflow experiments restore -x {number}`, or set another study.name"
    )


def _place(address: str) -> str:
    named = bool(os.environ.get(MLFLOW_VARIABLE))
    return f"{MLFLOW_VARIABLE} = {masked(address)}" if named else f"MLflow's database {masked(address)}"


def _ask_mlflow(address: str) -> tuple[str, str] | None:
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    def ask() -> Answer:
        """One request with the credentials, certificates and headers that MLflow itself would send."""
        credentials = get_default_host_creds(address)  # type: ignore[no-untyped-call]
        got = http_request(  # type: ignore[no-untyped-call]
            credentials, MLFLOW_PATH, "POST", json={"max_results": 1}, max_retries=0, timeout=DEADLINE_S,
            raise_on_status=False, retry_codes=(),
        )  # fmt: skip
        return Answer(got.status_code, got.headers.get("content-type", ""), got.text)

    answer = within(DEADLINE_S, ask)
    fix = f"start MLflow's server there, correct {MLFLOW_VARIABLE}, {UNSET_MLFLOW}"
    if isinstance(answer, Exception):
        return _describe(answer), fix
    if answer.status in (401, 403):
        return answer.words, (
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to a user who may "
            f"write there, {UNSET_MLFLOW}"
        )
    if answer.status >= 500:
        return answer.words, f"see the log of the server and of a proxy in front of it, {UNSET_MLFLOW}"
    if answer.status != 200 or answer.is_page or not answer.text.lstrip().startswith("{"):
        found = f"{answer.words}, which is not MLflow's API"
        return found, f"correct {MLFLOW_VARIABLE} (another program, a login page or a proxy answers), {UNSET_MLFLOW}"
    return None


def _examine_sqlite(address: str, own: Path) -> tuple[str, str] | None:
    """A database file that exists, or can be made."""
    path = database_file(address)
    if path is None:
        fix = f"name a file, as in sqlite:///mlruns/mlflow.db, {UNSET_MLFLOW}"
        return "a database in memory ends with its process", fix
    if path.is_dir():
        return "it is a folder, expected a file", f"name a file in it, {UNSET_MLFLOW}"
    if not path.parent.is_dir():
        if path.parent == own:
            return None
        fix = f"make it (mkdir -p), correct {MLFLOW_VARIABLE}, {UNSET_MLFLOW}"
        return f"the folder {path.parent} does not exist", fix
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "this user may not write it", f"change its permissions, or name another file, {UNSET_MLFLOW}"
    if _begins_unlike_sqlite(path):
        return "the file is no SQLite database", "move it away, and restore it from a copy or let MLflow make a new one"
    return None


def _begins_unlike_sqlite(path: Path) -> bool:
    """Whether the file has content that is no SQLite database; MLflow fills an empty file."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.read(15) not in (b"", b"SQLite format 3")


def _connect(address: str) -> tuple[str, str] | None:
    from sqlalchemy import create_engine

    def connect() -> None:
        engine = create_engine(address)
        engine.connect().close()
        engine.dispose()

    error = within(DEADLINE_S, connect)
    if error is None:
        return None
    text = _describe(error).replace(address, masked(address))
    return text, f"start the database, correct {MLFLOW_VARIABLE}, {UNSET_MLFLOW}"


def _refuse_scheme(address: str) -> tuple[str, str] | None:
    """The words for an address without a scheme that MLflow knows, plugins included; a folder is a file store."""
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry
    from mlflow.utils.uri import get_uri_scheme

    known = sorted(filter(None, _tracking_store_registry._registry))
    scheme = get_uri_scheme(address)  # type: ignore[no-untyped-call]
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", address):
        return "it has no scheme", f"write http://{masked(address)}, {UNSET_MLFLOW}"
    if address in known:  # such as databricks, which needs no more words
        return None
    if scheme in ("", "file"):
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
            return None
        folder = Path(urlsplit(address).path if scheme else address).absolute()
        database = f"sqlite:///{folder}/mlflow.db"
        return "MLflow no longer keeps runs in a folder of files (a file store)", (
            f"name a database, as in {database}, {UNSET_MLFLOW}; "
            f"`mlflow migrate-filestore --source {folder} --target {database}` takes the runs over"
        )
    if scheme not in known:
        return f"its scheme is {scheme!r}, expected one of {known}", f"correct {MLFLOW_VARIABLE}, {UNSET_MLFLOW}"
    return None


# --- Prefect


def find_prefect_problem() -> ServiceProblem | None:
    """Why Prefect's API cannot be used; None where it answers, or where no address is set."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    address = settings.api.url
    if not address:
        return None
    found = _ask_prefect(address, settings)
    return None if found is None else ServiceProblem(f"{PREFECT_VARIABLE} = {masked(address)}", *found)


def _ask_prefect(address: str, settings: PrefectSettings) -> tuple[str, str] | None:
    if not address.startswith(("http://", "https://")):
        return "it has no scheme http:// or https://", f"write http://{masked(address)}, {UNSET_PREFECT}"
    headers, certificates = _credentials(settings), _certificates(settings)
    cloud = (urlsplit(address).hostname or "").endswith(PREFECT_CLOUD)  # its API has neither page
    answer = ask_prefect(address, HEALTH, headers, certificates)
    if isinstance(answer, Answer) and answer.status == 200 and not cloud:
        answer = ask_prefect(address, VERSION, headers, certificates)
    fix = f"start the server (`prefect server start`), correct {PREFECT_VARIABLE}, {UNSET_PREFECT}"
    if isinstance(answer, Exception):
        return _describe(answer), fix
    if answer.status in (401, 403):
        fix = "set PREFECT_API_KEY or PREFECT_API_AUTH_STRING to what the server expects"
        return answer.words, f"{fix}, {UNSET_PREFECT}"
    if answer.status >= 500:
        return answer.words, f"see the log of the server and of a proxy in front of it, {UNSET_PREFECT}"
    if answer.is_page or (answer.status != 200 and not cloud):
        form = "" if address.rstrip("/").endswith("/api") else "add /api to the address, "
        return f"{answer.words}, which is not Prefect's API", f"{form}{fix}"
    return None


def ask_prefect(
    address: str, path: str, headers: dict[str, str] | None = None, verify: Any = True
) -> Answer | Exception:
    """What a Prefect API answers to a request for one of its pages, or why there is no answer within `DEADLINE_S`.

    Args:
        address: of the API, as in http://127.0.0.1:4200/api.
        path: of the page, such as `HEALTH`.
        headers: with credentials.
        verify: whether certificates are checked, or the SSL context that checks them.
    """
    import httpx

    def ask() -> Answer:
        local = (urlsplit(address).hostname or "") in ("127.0.0.1", "localhost", "::1")
        with httpx.Client(verify=verify, timeout=DEADLINE_S, follow_redirects=True, trust_env=not local) as client:
            got = client.get(f"{address.rstrip('/')}/{path}", headers=headers)
        return Answer(got.status_code, got.headers.get("content-type", ""), got.text)

    return within(DEADLINE_S, ask)


def _credentials(settings: PrefectSettings) -> dict[str, str]:
    if settings.api.auth_string:
        return basic_login(settings.api.auth_string.get_secret_value())
    return {"Authorization": f"Bearer {settings.api.key.get_secret_value()}"} if settings.api.key else {}


def basic_login(login: str) -> dict[str, str]:
    """The HTTP header of a login, USER:PASSWORD."""
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def _certificates(settings: PrefectSettings) -> bool | ssl.SSLContext:
    if settings.api.tls_insecure_skip_verify:
        return False
    return ssl.create_default_context(cafile=settings.api.ssl_cert_file) if settings.api.ssl_cert_file else True


# --- one question with a deadline


def within(seconds: float, ask: Callable[[], T]) -> T | Exception:
    """What `ask` returns or raises, or a TimeoutError.

    A name server that does not answer blocks for longer than any time-out of a request. So the question is asked in a
    thread, which is left alone at the deadline.
    """
    answers: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(ask())
        except Exception as error:
            answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return answers.get(timeout=seconds + 0.5)  # the request's own time-out comes first, where it works
    except queue.Empty:
        return TimeoutError()


def _describe(error: Exception) -> str:
    """Why there was no answer, in words that do not depend on the library that raised the error."""
    causes = list(_causes(error))
    if any(isinstance(each, socket.gaierror) or type(each).__name__ == "NameResolutionError" for each in causes):
        return "there is no host of this name"
    if any(isinstance(each, ConnectionRefusedError) for each in causes):
        return "nothing answers at this port (connection refused)"
    for each in causes:
        if isinstance(each, ssl.SSLError):
            return f"the encrypted connection failed ({each.reason or each})"
    if any(isinstance(each, TimeoutError) or "Timeout" in type(each).__name__ for each in causes):
        return f"no answer within {DEADLINE_S:g} s"
    last = causes[-1]
    return f"{type(last).__name__}: {' '.join(str(last).split())[:LONGEST_ANSWER]}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and every error that it came from, each once."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if any(each is other for other in seen):
            continue
        seen.append(each)
        inner = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        waiting += [other for other in inner if isinstance(other, BaseException)]
    yield from seen
