/* Members of a JSON object that may be missing or of another type, and JSON documents from outside, parsed within a
 * memory budget. Thread: any. */
#ifndef ENTREPOT_CORE_JSON_H
#define ENTREPOT_CORE_JSON_H

#include "common/core/base.h"
#include "common/core/error.h"

#include <jansson.h>

/* The integer at key; fallback if there is none. o may be NULL. */
int64_t json_int(const json_t *o, const char *key, int64_t fallback);
/* The string at key, which lives as long as o; fallback if there is none. o may be NULL. */
const char *json_text(const json_t *o, const char *key, const char *fallback);

/* What the text of a document holds, counted before memory is spent on it. */
struct json_count {
    int64_t containers; /* objects and lists */
    int64_t values;     /* at most so many, containers included */
};
struct json_count json_count(const char *text, size_t len);
/* Estimates from the text how much memory the parsed document takes, in bytes: an empty object is 2 bytes of text and
 * some 250 bytes of memory. */
int64_t json_cost(const char *text, size_t len);

/* A parsed document that came from outside. Its memory is counted in the JSON budget. */
struct json_doc {
    json_t *root;
    int64_t cost;
};
#define JSON_COST_MAX (96 * MiB)
/* Parses text; flags are those of json_loadb. ERR_INVALID: not JSON. ERR_TOO_BIG: it alone would take more than
 * JSON_COST_MAX. ERR_BUSY: the budget is used up. On failure d is empty and may still be closed. */
int json_open(struct json_doc *d, const char *text, size_t len, size_t flags) must_check;
/* The same on a thread that may block and has no other document open: waits for the budget. why (may be NULL): where it
 * is not JSON. */
int json_open_wait(struct json_doc *d, const char *text, size_t len, size_t flags, json_error_t *why) must_check;
void json_close(struct json_doc *d);

#endif
