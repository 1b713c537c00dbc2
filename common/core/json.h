/* Reading members of a JSON object that may lack them or hold another type. Thread: any. */
#ifndef ENTREPOT_CORE_JSON_H
#define ENTREPOT_CORE_JSON_H

#include <jansson.h>
#include <stdint.h>

/* The integer at key; fallback if there is none. o may be NULL. */
int64_t json_int(const json_t *o, const char *key, int64_t fallback);
/* The string at key, which lives as long as o; fallback if there is none. o may be NULL. */
const char *json_text(const json_t *o, const char *key, const char *fallback);

#endif
