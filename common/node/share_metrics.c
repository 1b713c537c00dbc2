/* Writes the metrics of shares. Thread: as share_metrics.h says. */
#include "common/node/share_metrics.h"

void share_metrics(struct metric_page *page, const char *door, const struct share_stats *s) {
    metric_label_set(page, FAMILY_PLACES, door, NULL, (double)s->places);
    metric_label_set(page, FAMILY_PLACES_TAKEN, door, NULL, (double)s->taken);
    metric_label_set(page, FAMILY_PLACES_WAITING, door, NULL, (double)s->waiting);
    metric_label_set(page, FAMILY_PLACES_CALLERS, door, NULL, (double)s->callers);
    metric_label_set(page, FAMILY_PLACES_REFUSED, door, NULL, (double)s->refused);
    metric_label_set(page, FAMILY_PLACES_GAVE_WAY, door, NULL, (double)s->gave_way);
}
