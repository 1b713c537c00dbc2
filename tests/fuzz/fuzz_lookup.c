/* The protobuf endpoint's decoding, both ways: what is accepted obeys the rules of names and digests, and encodes and
 * decodes again. */
#include "common/wire/wire.h"

#include <assert.h>
#include <string.h>

static void check_request(const uint8_t *data, size_t size) {
    struct wire_request rq, again;
    struct error err = {0};
    int r = wire_request_decode(&rq, data, size, &err);
    assert(r == err.code);
    for (size_t i = 0; i < rq.n_queries; i++) {
        const struct wire_query *q = &rq.queries[i];
        assert(q->kind == WIRE_QUERY_UNKNOWN ? q->refused != NULL : q->refused == NULL);
        assert(q->kind != WIRE_QUERY_TAG || repo_path_check(q->repo.path, strlen(q->repo.path)) == 0);
        assert(q->kind != WIRE_QUERY_BLOB || digest_len(q->digest.alg));
    }
    uint8_t *out = NULL;
    size_t len;
    if (r == 0 && wire_request_encode(&rq, &out, &len, NULL) == 0) {
        assert(wire_request_decode(&again, out, len, NULL) == 0 && again.n_queries == rq.n_queries);
        wire_request_fini(&again);
    }
    free(out);
    wire_request_fini(&rq);
}

static void check_response(const uint8_t *data, size_t size) {
    struct wire_response rs, again;
    struct error err = {0};
    int r = wire_response_decode(&rs, data, size, &err);
    assert(r == err.code);
    uint8_t *out = NULL;
    size_t len;
    if (r == 0 && wire_response_encode(&rs, &out, &len, NULL) == 0) {
        assert(wire_response_decode(&again, out, len, NULL) == 0 && again.n_answers == rs.n_answers);
        wire_response_fini(&again);
    }
    free(out);
    wire_response_fini(&rs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_request(data, size);
    check_response(data, size);
    return 0;
}
