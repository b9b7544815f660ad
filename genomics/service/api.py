"""The paths of the service, as FastAPI documents them in ``/openapi.json``.

There is no list of jobs: a job is found by its id, which only the one who ordered it was told. The
interactive pages of FastAPI are left out: they load scripts from another machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from genomics.errors import BusyError, JobStateError, UnknownJobError
from genomics.service import API_VERSION
from genomics.service.access import STATUS_PATH
from genomics.service.jobs import Job, JobBook, State
from genomics.service.limits import Limits
from genomics.service.orders import Places, order_from
from genomics.service.pool import WorkerPool
from genomics.service.storage import OUTPUTS, Storage, output_path

Output = Literal["json", "jsonl", "tsv", "vcf", "vcf.gz"]
_BINARY = {"type": "string", "format": "binary", "minLength": 1}
_Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]


class OrderBody(BaseModel):
    """What to score, and how."""

    model_config = ConfigDict(extra="forbid")

    vcf: _Text | None = Field(
        None, description="A file of the service's machine; leave out to upload one."
    )
    name: _Name | None = Field(None, description="The VCF's name, for messages and run record.")
    sample: _Text | None = Field(None, description="The patient's column, of several.")
    reference: _Text | None = Field(None, description="FASTA: a path, or a name the service has.")
    genes: _Text | None = Field(None, description="GFF3: a path, or a name the service has.")
    model: _Text = "missense-lstm"
    outputs: list[Output] = Field(["json"], min_length=1, max_length=len(OUTPUTS))


class JobStatus(BaseModel):
    """Where a job is."""

    id: str
    state: State
    done: int = Field(description="Records read so far.")
    total: int | None = Field(description="Records in the file; null where not known.")
    message: str | None = Field(description="Why it failed, and the mend.")
    expected: bool = Field(description="Whether the input or the options were wrong.")
    outputs: list[Output]


class About(BaseModel):
    """What answers here, and within which bounds."""

    service: Literal["precimed-genomics"] = "precimed-genomics"
    api: int = API_VERSION
    local_files: bool = Field(description="Whether orders may name files of this machine.")
    references: list[str] = Field(description="Names that reference and genes may give.")
    upload_bytes: int
    keep_seconds: float
    jobs: dict[State, int]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem} for code in (*codes, 401, 403, 421)}


@dataclass(frozen=True)
class Desk:
    """What the paths work with."""

    book: JobBook
    storage: Storage
    pool: WorkerPool
    limits: Limits
    places: Places


def build_app(desk: Desk) -> FastAPI:
    """Return the application; its lifespan starts the workers, and ends them and cleans up."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.pool.start()
        try:
            yield
        finally:
            await run_in_threadpool(desk.pool.stop)
            desk.storage.close()

    app = FastAPI(
        title="Precimed genomics",
        version=str(API_VERSION),
        description="Scores the variants of one sample. Not a medical device.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # The guard has asked for the token already; this only documents that it does.
        dependencies=[Depends(HTTPBearer(auto_error=False))],
    )
    _handle_errors(app)
    _add_job_paths(app, desk)
    _add_transfer_paths(app, desk)

    @app.get("/", responses=_problems())
    def about() -> About:
        """Say what answers here."""
        return About(
            local_files=desk.places.local_files,
            references=desk.places.names(),
            upload_bytes=desk.limits.upload_bytes,
            keep_seconds=desk.limits.keep_seconds,
            jobs={State(name): count for name, count in desk.book.counts().items()},
        )

    return app


def _handle_errors(app: FastAPI) -> None:
    def answer(status: int) -> Callable[[Request, Exception], JSONResponse]:
        def handle(_: Request, error: Exception) -> JSONResponse:
            headers = (
                {"Retry-After": str(error.retry_after)} if isinstance(error, BusyError) else None
            )
            return JSONResponse({"detail": str(error)}, status, headers)

        return handle

    for kind, status in ((BusyError, 429), (UnknownJobError, 404), (JobStateError, 409)):
        app.add_exception_handler(kind, answer(status))


def _add_job_paths(app: FastAPI, desk: Desk) -> None:
    @app.post("/jobs", status_code=201, responses=_problems(400, 404, 413, 429))
    def order(body: OrderBody, response: Response) -> JobStatus:
        """Order a job; where no vcf is named it waits for PUT /jobs/{id}/vcf."""
        job = desk.book.place(order_from(body.model_dump(), desk.places))
        response.headers["Location"] = f"/jobs/{job.id}"
        return _status(job)

    @app.get(STATUS_PATH, responses=_problems(404))
    def status(job_id: str) -> JobStatus:
        """Say where a job is."""
        return _status(desk.book.find(job_id))

    @app.post("/jobs/{job_id}/cancel", responses=_problems(404))
    def cancel(job_id: str) -> JobStatus:
        """Stop a job; one that has ended stays as it is."""
        return _status(desk.book.cancel(job_id))

    @app.delete(STATUS_PATH, status_code=204, responses=_problems(404))
    def drop(job_id: str) -> None:
        """Stop a job and forget it with its upload and results."""
        desk.book.drop(job_id)


def _add_transfer_paths(app: FastAPI, desk: Desk) -> None:
    @app.put(
        "/jobs/{job_id}/vcf",
        responses=_problems(400, 404, 409, 413, 429),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": _BINARY}},
            }
        },
    )
    async def upload(job_id: str, request: Request) -> JobStatus:
        """Send the VCF of a job, plain, gzip or bgzip, as the body; the job is then queued."""
        job = desk.book.begin_upload(job_id)
        complete = False
        try:
            await _store(job, desk.book, request)
            complete = True
        except ClientDisconnect:
            raise HTTPException(400, "the upload broke off; send it again") from None
        finally:
            desk.book.end_upload(job, complete=complete)
        return _status(job)

    @app.get(
        "/jobs/{job_id}/result/{output}",
        response_class=FileResponse,
        responses={
            200: {"content": {media: {} for media in OUTPUTS.values()}},
            **_problems(404, 409),
        },
    )
    def result(job_id: str, output: Output) -> FileResponse:
        """Send a result in one of the formats that were ordered."""
        job = desk.book.find(job_id)
        if job.state is not State.DONE or output not in job.order.outputs:
            raise JobStateError(
                f"the job is {job.state.value} and makes {', '.join(job.order.outputs)}; "
                f"{output} is not there"
            )
        desk.book.mark_fetched(job)
        return FileResponse(output_path(job.folder, output), media_type=OUTPUTS[output])


async def _store(job: Job, book: JobBook, request: Request) -> None:
    stored = 0
    with (job.folder / "upload").open("wb") as stream:
        async for chunk in request.stream():
            if chunk:
                book.grow_upload(job, len(chunk))
                await run_in_threadpool(stream.write, chunk)
                stored += len(chunk)
    if not stored:
        raise HTTPException(400, "the body is empty; send the VCF as the body")


def _status(job: Job) -> JobStatus:
    return JobStatus(
        id=job.id,
        state=job.state,
        done=job.done,
        total=job.total,
        message=job.message,
        expected=job.expected,
        outputs=list(job.order.outputs),  # type: ignore[arg-type]
    )
