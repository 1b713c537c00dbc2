/* Answers of the admin port and the control socket: JSON documents, and failures as {"error":{"message","hint"}}.
 * Thread: serving loop, unless a function says otherwise. */
#ifndef ENTREPOT_API_ANSWER_H
#define ENTREPOT_API_ANSWER_H

#include <jansson.h>

#include "common/http/server.h"

/* Any thread. hint: what to try; NULL or "" for nothing. */
json_t *api_error_json(const char *message, const char *hint);
void api_reply_json(struct http_req *req, int status, json_t *doc); /* takes doc */
void api_reply_error(struct http_req *req, int status, const char *message, const char *hint);

#endif
