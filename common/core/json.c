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

struct json_count json_count(const char *text, size_t len) {
    struct json_count n = {.values = 1};
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
            n.containers++;
        } else if (text[i] == ',') {
            n.values++;
        }
    }
    return n;
}

int64_t json_cost(const char *text, size_t len) {
    struct json_count n = json_count(text, len);
    return n.containers * CONTAINER_BYTES + n.values * VALUE_BYTES + 2 * (int64_t)len;
}

static int load(struct json_doc *d, int64_t cost, const char *text, size_t len, size_t flags, json_error_t *why) {
    *d = (struct json_doc){.root = json_loadb(text, len, flags, why), .cost = cost};
    if (d->root) return 0;
    json_close(d);
    return ERR_INVALID;
}

int json_open(struct json_doc *d, const char *text, size_t len, size_t flags) {
    int64_t cost = json_cost(text, len);
    *d = (struct json_doc){0};
    if (cost > JSON_COST_MAX) return ERR_TOO_BIG;
    return budget_take(BUDGET_JSON, cost) ? load(d, cost, text, len, flags, NULL) : ERR_BUSY;
}

int json_open_wait(struct json_doc *d, const char *text, size_t len, size_t flags, json_error_t *why) {
    int64_t cost = json_cost(text, len);
    *d = (struct json_doc){0};
    if (cost > JSON_COST_MAX || !budget_wait(BUDGET_JSON, cost)) return ERR_TOO_BIG;
    return load(d, cost, text, len, flags, why);
}

void json_close(struct json_doc *d) {
    json_decref(d->root);
    budget_give(BUDGET_JSON, d->cost);
    *d = (struct json_doc){0};
}
