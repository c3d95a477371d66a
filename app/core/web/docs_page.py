"""The page `/docs`: Swagger UI, laid out so that the first screen shows how to start."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

STATIC_FILES = "/static-offline-docs"  # of fastapi-offline
PARAMETERS = {
    "persistAuthorization": True,
    "tryItOutEnabled": True,
    "defaultModelsExpandDepth": 0,  # schemas are listed, collapsed
    "showExtensions": False,
    "showCommonExtensions": False,
}


def install_docs_page(app: FastAPI) -> None:
    """Serve Swagger UI at `/docs`. fastapi-offline serves its scripts."""
    style = files("app.core.web").joinpath("docs_page.css").read_text(encoding="utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title} API",
            swagger_js_url=f"{root}{STATIC_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{STATIC_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{root}{STATIC_FILES}/favicon.png",
            swagger_ui_parameters=PARAMETERS,
        )
        return HTMLResponse(bytes(page.body).decode().replace("</head>", f"<style>\n{style}</style>\n</head>"))
