/* Documents are small and made for each answer. Thread: serving loop. */
#include "common/admin/api_answer.h"

#include "common/core/alloc.h"

#include <string.h>

json_t *api_error_json(const char *message, const char *hint) {
    json_t *m = json_string(message);
    if (!m) m = json_string("an error whose text is not valid UTF-8");
    json_t *h = json_string(hint ? hint : "");
    return json_pack("{s:{s:o,s:o}}", "error", "message", m, "hint", h ? h : json_string(""));
}

void api_reply_json(struct http_req *req, int status, json_t *doc) {
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (!text) out_of_memory();
    http_reply_ref(req, status, "application/json", text, strlen(text), free, text);
}

void api_reply_error(struct http_req *req, int status, const char *message, const char *hint) {
    api_reply_json(req, status, api_error_json(message, hint));
}
