/* What a store holds and what was done to it, as JSON: the same from a daemon and from a command without one. Thread:
 * any that may block. */
#ifndef ENTREPOT_INVENTORY_STORE_JSON_H
#define ENTREPOT_INVENTORY_STORE_JSON_H

#include <jansson.h>

#include "common/store/report.h"
#include "common/store/store.h"

/* What is held. repo NULL: {"repositories":[{"repository","tags","manifests","size"}],"truncated"}; else
 * {"repository","tags":[{"tag","digest","size","whole_size","platforms":[],"used_at","manifest_size","media_type",
 * "checked_at","deleted","complete"}],"truncated"}; size -1: unknown, because the list is too
 * long to read every manifest. */
int store_list_json(struct store *s, const char *repo, json_t **out, struct error *err) must_check;
json_t *store_usage_json(const struct store *s);

/* What a prune has freed, and the store's usage after it. */
json_t *prune_json(const struct prune_report *r, const struct store *s);
/* A verify's report: its counts, and the names of the first bad blobs. */
json_t *verify_json(const struct verify_report *r, int64_t total_bytes);

#endif
