/* The table of /v2/ says who answers, and what a 405 allows. */
#include "common/serve/endpoints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/core/base.h"

static void every_read_is_answered_and_no_write(void **state) {
    (void)state;
    static const struct {
        enum oci_endpoint endpoint;
        enum action action;
        bool in_repository;
    } reads[] = {
        {OCI_BASE, ACTION_NONE, false},    {OCI_CATALOG, ACTION_CATALOG, false}, {OCI_BLOB, ACTION_PULL, true},
        {OCI_MANIFEST, ACTION_PULL, true}, {OCI_TAGS, ACTION_PULL, true},        {OCI_REFERRERS, ACTION_PULL, true},
    };
    static const enum http_method others[] = {HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER};
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        const struct endpoint_row *get = endpoint_find(reads[i].endpoint, HTTP_GET);
        assert_non_null(get);
        assert_ptr_equal(get, endpoint_find(reads[i].endpoint, HTTP_HEAD));
        assert_non_null(get->answer);
        assert_int_equal(get->action, reads[i].action);
        assert_int_equal(get->in_repository, reads[i].in_repository);
        assert_int_equal(endpoint_allowed(reads[i].endpoint), METHODS_READ);
        for (size_t k = 0; k < ARRAY_LEN(others); k++) {
            const struct endpoint_row *row = endpoint_find(reads[i].endpoint, others[k]);
            if (row) assert_null(row->answer);
        }
    }
}

static void writes_of_the_api_have_their_action(void **state) {
    (void)state;
    static const struct {
        enum oci_endpoint endpoint;
        enum http_method method;
        enum action action;
    } cases[] = {
        {OCI_UPLOADS, HTTP_POST, ACTION_PUSH},      {OCI_UPLOADS, HTTP_PATCH, ACTION_PUSH},
        {OCI_UPLOADS, HTTP_PUT, ACTION_PUSH},       {OCI_UPLOADS, HTTP_GET, ACTION_PUSH},
        {OCI_UPLOADS, HTTP_DELETE, ACTION_PUSH},    {OCI_MANIFEST, HTTP_PUT, ACTION_PUSH},
        {OCI_MANIFEST, HTTP_DELETE, ACTION_DELETE}, {OCI_BLOB, HTTP_DELETE, ACTION_DELETE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct endpoint_row *row = endpoint_find(cases[i].endpoint, cases[i].method);
        assert_non_null(row);
        assert_int_equal(row->action, cases[i].action);
        assert_true(row->in_repository);
    }
    assert_int_equal(endpoint_allowed(OCI_UPLOADS), 0);
    assert_null(endpoint_find(OCI_MANIFEST, HTTP_OTHER));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_read_is_answered_and_no_write),
        cmocka_unit_test(writes_of_the_api_have_their_action),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
