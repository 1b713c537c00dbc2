/* Members of a JSON object, with a fallback. Thread: any. */
#include "common/core/json.h"

int64_t json_int(const json_t *o, const char *key, int64_t fallback) {
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

const char *json_text(const json_t *o, const char *key, const char *fallback) {
    const char *v = json_string_value(json_object_get(o, key));
    return v ? v : fallback;
}
