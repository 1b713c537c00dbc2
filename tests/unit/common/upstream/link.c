/* How lists go on, by their Link headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "common/upstream/link.h"

static const char *const *lines; /* the answer's, NULL at the end */

static const char *at(const struct http_answer *a, const char *name, unsigned i) {
    (void)a;
    assert_string_equal(name, "link");
    for (unsigned k = 0; lines[k]; k++) {
        if (k == i) return lines[k];
    }
    return NULL;
}

#define URL "https://reg.example/v2/a/tags/list?n=2"

static void link_next_finds_where_a_list_goes_on(void **state) {
    (void)state;
    static const struct {
        const char *lines[4];
        const char *out; /* NULL: the list ends */
        int code;
    } cases[] = {
        {{NULL}, NULL, 0},
        {{"</v2/a/tags/list?last=b&n=2>; rel=\"next\"", NULL}, "<?last=b&n=2>; rel=\"next\"", 0},
        {{"<https://REG.example/v2/a/tags/list?last=b>;rel=next", NULL}, "<?last=b>; rel=\"next\"", 0},
        {{"<http://reg.example:8080/x?last=b>;rel=next", NULL}, "<?last=b>; rel=\"next\"", 0},
        {{"<?last=b>; title=\"a, <c>; rel=x\" ; REL = \"prev Next\"; x", NULL}, "<?last=b>; rel=\"next\"", 0},
        {{"<list?last=b#frag>; rel=next", NULL}, "<?last=b>; rel=\"next\"", 0},
        {{"</first?x=1>; rel=\"first\", </n?x=2>; rel=\"next\", </l?x=3>; rel=last", NULL}, "<?x=2>; rel=\"next\"", 0},
        {{"</first?x=1>; rel=\"first\"", "</n?x=2>; rel=\"next\"", NULL}, "<?x=2>; rel=\"next\"", 0},
        {{"</n?x=2>; rel=\"prev\"; rel=\"next\"", NULL}, NULL, 0}, /* RFC 8288: the first rel counts */
        {{"</n?x=2>; rel=\"nextdoor\"", "</n?x=2>", "next", NULL}, NULL, 0},
        {{"</n?x=2", NULL}, NULL, 0},
        {{"<<>>;;;===,\"", NULL}, NULL, 0},
        {{"<https://evil.example/v2/a/tags/list?last=b>; rel=next", NULL}, NULL, ERR_UPSTREAM},
        {{"<https://u:p@reg.example/v2/a/tags/list?last=b>; rel=next", NULL}, NULL, ERR_UPSTREAM},
        {{"</v2/a/tags/list>; rel=next", NULL}, NULL, ERR_UPSTREAM},
        {{"<ftp://reg.example/?x=1>; rel=next", NULL}, NULL, ERR_UPSTREAM},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_answer a = {.header_at = at};
        struct error err = {0};
        char *out;
        lines = cases[i].lines;
        int code = link_next(&a, URL, &out, &err);
        bool same = out && cases[i].out ? strcmp(out, cases[i].out) == 0 : !out == !cases[i].out;
        if (code != cases[i].code || !same) fail_msg("%zu: %d %s %s", i, code, out ? out : "-", err.msg);
        free(out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(link_next_finds_where_a_list_goes_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
