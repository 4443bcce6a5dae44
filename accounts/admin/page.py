"""What all pages of the web admin have in common: they show, nothing is made or deleted on them, and nothing is done to many at once."""

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.contrib.admin import ShowFacets
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.core.paginator import Paginator as InfinitePaginator
else:
    from unfold.admin import ModelAdmin
    from unfold.paginator import InfinitePaginator

Shown = TypeVar("Shown", bound=Model)


class Page(ModelAdmin, Generic[Shown]):  # type: ignore[type-arg]  # unfold's is not generic
    """One kind of thing, as a list and one by one."""

    actions = None
    list_per_page = 50
    show_full_result_count = False
    # Pages are turned without counting what a large table has.
    paginator = InfinitePaginator
    list_filter_sheet = True
    # To count what each filter would find is to read the whole table.
    show_facets = ShowFacets.NEVER

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """A list is narrowed down by its filters alone: by any other field one could find out what no page shows, a password's hash for one."""
        filters = {one if isinstance(one, str) else getattr(one, "parameter_name", None) for one in self.list_filter}
        return lookup.partition("__")[0] in filters

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nothing is made here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is deleted here: ids are never given twice, and what hangs on a row would be left behind."""
        return False

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Security events have it: Django's own log keeps names that people gave themselves, and may be edited."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The audit log has it."""
        raise Http404
