/* Reading members of a JSON object that may lack them or hold another type. Thread: any. */
#ifndef ENTREPOT_CORE_JSON_H
#define ENTREPOT_CORE_JSON_H

#include "common/core/base.h"
#include "common/core/error.h"

#include <jansson.h>

/* The integer at key; fallback if there is none. o may be NULL. */
int64_t json_int(const json_t *o, const char *key, int64_t fallback);
/* The string at key, which lives as long as o; fallback if there is none. o may be NULL. */
const char *json_text(const json_t *o, const char *key, const char *fallback);

/* About what a document's tree will take in memory, from a look at its text alone: an empty object is 2 bytes of JSON
 * and some 250 of memory. */
int64_t json_cost(const char *text, size_t len);

/* A stranger's document, within the budget JSON. */
struct json_doc {
    json_t *root;
    int64_t cost;
};
#define JSON_COST_MAX (96 * MiB)
/* flags: as of json_loadb. ERR_INVALID: it is no JSON; ERR_TOO_BIG: it alone would take more than JSON_COST_MAX;
 * ERR_BUSY: the budget is used up. Not 0: d is empty, and
 * may be closed. */
int json_open(struct json_doc *d, const char *text, size_t len, size_t flags) must_check;
void json_close(struct json_doc *d);

#endif
