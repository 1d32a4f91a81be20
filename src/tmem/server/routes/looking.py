"""The page to look into a memory, and how one grew, which only it asks."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from tmem.server.dependencies import on_memory
from tmem.server.replies import Json

FOLDER = Path(__file__).with_name("page")
KINDS = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
# Nothing from elsewhere, nothing inline, no text of a memory taken for markup, no other page around it.
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
router = APIRouter(tags=["looking"])


@router.get("/", include_in_schema=False)
@router.get("/page.css", include_in_schema=False)
@router.get("/page.js", include_in_schema=False)
async def page(request: Request) -> Response:
    name, kind = KINDS[request.url.path]
    return FileResponse(FOLDER / name, media_type=kind, headers=HEADERS)


@router.get("/v1/growth", summary="How many pairs held in each version, oldest first")
async def growth(request: Request) -> Response:
    return Json({"results": await on_memory(request, lambda memory: memory.growth(), "look")})
