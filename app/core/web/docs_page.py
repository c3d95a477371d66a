"""The page `/docs`: Swagger UI, laid out so that the first screen shows how to start."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

STATIC_FILES = "/static-offline-docs"  # of fastapi-offline
PARAMETERS = {
    "persistAuthorization": True,
    "tryItOutEnabled": True,
    "defaultModelsExpandDepth": 0,  # schemas are listed, collapsed
    "defaultModelExpandDepth": 2,
    "displayRequestDuration": True,
}
# The introduction and an opened operation take little room: of an error response only the description is shown, since
# all errors have the same schema, and long examples scroll.
STYLE = """
<style>
  .swagger-ui .info { margin: 16px 0 8px }
  .swagger-ui .info hgroup.main { margin: 0 0 8px }
  .swagger-ui .info h2, .swagger-ui .info h3, .swagger-ui .info p, .swagger-ui .info li { margin: 4px 0 }
  .swagger-ui .info h2 { font-size: 18px }
  .swagger-ui .info details { margin: 0 }
  .swagger-ui .info summary { cursor: pointer; text-decoration: underline }
  .swagger-ui .scheme-container { margin: 0 0 8px; padding: 8px 0 }
  .swagger-ui tr.response[data-code^="4"] .response-controls,
  .swagger-ui tr.response[data-code^="5"] .response-controls,
  .swagger-ui tr.response[data-code^="4"] .model-example,
  .swagger-ui tr.response[data-code^="5"] .model-example { display: none }
</style>
"""


def install_docs_page(app: FastAPI) -> None:
    """Serve Swagger UI at `/docs`; its scripts are those that fastapi-offline serves."""

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
        return HTMLResponse(bytes(page.body).decode().replace("</head>", f"{STYLE}</head>"))
