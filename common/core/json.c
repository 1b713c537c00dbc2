/* Reads members of a JSON object, and whole documents within the JSON budget. Thread: any. */
#include "common/core/json.h"

#include "common/core/budget.h"

/* What jansson 2.14 allocates, rounded up: for an object or list with its first table; for a value with its name and
 * slot. */
#define CONTAINER_BYTES 256
#define VALUE_BYTES 128

int64_t json_int(const json_t *o, const char *key, int64_t fallback) {
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

const char *json_text(const json_t *o, const char *key, const char *fallback) {
    const char *v = json_string_value(json_object_get(o, key));
    return v ? v : fallback;
}

int64_t json_cost(const char *text, size_t len) {
    int64_t containers = 0, values = 1;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        if (in_string) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                in_string = false;
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == '{' || text[i] == '[') {
            containers++;
        } else if (text[i] == ',') {
            values++;
        }
    }
    return containers * CONTAINER_BYTES + values * VALUE_BYTES + 2 * (int64_t)len;
}

int json_open(struct json_doc *d, const char *text, size_t len, size_t flags) {
    int64_t cost = json_cost(text, len);
    *d = (struct json_doc){0};
    if (cost > JSON_COST_MAX) return ERR_TOO_BIG;
    if (!budget_take(BUDGET_JSON, cost)) return ERR_BUSY;
    *d = (struct json_doc){.root = json_loadb(text, len, flags, NULL), .cost = cost};
    if (d->root) return 0;
    json_close(d);
    return ERR_INVALID;
}

void json_close(struct json_doc *d) {
    json_decref(d->root);
    budget_give(BUDGET_JSON, d->cost);
    *d = (struct json_doc){0};
}
