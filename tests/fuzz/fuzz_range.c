/* Range and conditions: whatever is asked, the ranges lie within the resource, apart from each other, and are few; and
 * the conditions end. */
#include "common/http/range.h"

#include <assert.h>
#include <string.h>

static void check(const char *header, int64_t size) {
    struct http_range r[HTTP_RANGES_MAX];
    unsigned n = 0;
    enum http_range_result result = http_range_parse(header, size, r, &n);
    assert(n <= HTTP_RANGES_MAX);
    if (result != HTTP_RANGE_PARTIAL) return;
    assert(n > 0);
    for (unsigned i = 0; i < n; i++) {
        assert(r[i].start >= 0 && r[i].start < r[i].end && r[i].end <= size);
        for (unsigned j = 0; j < i; j++)
            assert(r[i].start > r[j].end || r[i].end < r[j].start);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    static const int64_t sizes[] = {0, 1, 100, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        check(text, sizes[i]);
    bool strong = http_if_match(text, "\"tag\"") && http_if_range(text, "\"tag\"");
    if (strong) assert(http_if_none_match(text, "\"tag\"") || !*text);
    http_if_none_match(text, "\"\"");
    free(text);
    return 0;
}
