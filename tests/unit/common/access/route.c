/* A table of routes says who answers, or why nobody does. */
#include "common/access/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/access/query.h"

static void answer(struct http_req *req, void *arg) {
    (void)req;
    (void)arg;
}

static const struct route rows[] = {
    {"/read", METHODS_READ, PORT_ADMIN | PORT_CONTROL, answer},
    {"/change", METHODS_POST, PORT_CONTROL, answer},
    {"/both", METHODS_READ, PORT_NODE, answer},
    {"/both", METHODS_POST | METHOD_SET(HTTP_DELETE), PORT_NODE, answer},
    {0},
};

static void routes_are_found_or_the_verdict_says_why_not(void **state) {
    (void)state;
    static const struct {
        unsigned port;
        const char *target;
        enum http_method method;
        enum route_verdict verdict;
        const char *allow;
    } cases[] = {
        {PORT_ADMIN, "/read", HTTP_GET, ROUTE_FOUND, "GET, HEAD"},
        {PORT_ADMIN, "/read?x=/change", HTTP_HEAD, ROUTE_FOUND, "GET, HEAD"},
        {PORT_ADMIN, "/read", HTTP_POST, ROUTE_OTHER_METHOD, "GET, HEAD"},
        {PORT_ADMIN, "/read/", HTTP_GET, ROUTE_NO_PATH, ""},
        {PORT_ADMIN, "/rea", HTTP_GET, ROUTE_NO_PATH, ""},
        {PORT_ADMIN, "", HTTP_GET, ROUTE_NO_PATH, ""},
        {PORT_ADMIN, "/change", HTTP_POST, ROUTE_OTHER_PORT, ""},
        {PORT_CONTROL, "/change", HTTP_GET, ROUTE_OTHER_METHOD, "POST"},
        {PORT_NODE, "/both", HTTP_GET, ROUTE_FOUND, "GET, HEAD"},
        {PORT_NODE, "/both", HTTP_DELETE, ROUTE_FOUND, "GET, HEAD, POST, DELETE"},
        {PORT_NODE, "/both", HTTP_OTHER, ROUTE_OTHER_METHOD, "GET, HEAD, POST, DELETE"},
        {PORT_NODE, "/both", HTTP_OPTIONS, ROUTE_OTHER_METHOD, "GET, HEAD, POST, DELETE"},
    };
    struct route_table t = {0};
    routes_add(&t, rows, NULL);
    routes_add(&t, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_hit hit;
        char allow[METHODS_TEXT_MAX];
        assert_int_equal(routes_find(&t, cases[i].port, cases[i].target, cases[i].method, &hit), cases[i].verdict);
        assert_string_equal(methods_text(hit.allowed, allow), cases[i].allow);
    }
}

static void all_methods_fit_in_the_header(void **state) {
    (void)state;
    char allow[METHODS_TEXT_MAX];
    assert_string_equal(methods_text(~0u, allow), "GET, HEAD, POST, PUT, PATCH, DELETE");
}

static void a_parameter_is_decoded_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *target;
        int found;
        const char *value;
    } cases[] = {
        {"/x?a=1", 1, "1"},     {"/x?b=2&a=%2Fp%20q", 1, "/p q"},
        {"/x?a=&b=1", 1, ""},   {"/x?aa=1", 0, NULL},
        {"/x", 0, NULL},        {"/a=1", 0, NULL},
        {"/x?a=%", -1, NULL},   {"/x?a=%0", -1, NULL},
        {"/x?a=%zz", -1, NULL}, {"/x?a=%00", -1, NULL},
        {"/x?a=1&a=2", 1, "1"},
    };
    char out[QUERY_PARAM_MAX], longest[QUERY_PARAM_MAX + 8] = "/x?a=";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(query_param(cases[i].target, "a", out), cases[i].found);
        if (cases[i].value) assert_string_equal(out, cases[i].value);
    }
    memset(longest + 5, 'x', QUERY_PARAM_MAX - 1);
    assert_int_equal(query_param(longest, "a", out), 1);
    longest[5 + QUERY_PARAM_MAX - 1] = 'x';
    assert_int_equal(query_param(longest, "a", out), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_are_found_or_the_verdict_says_why_not),
        cmocka_unit_test(all_methods_fit_in_the_header),
        cmocka_unit_test(a_parameter_is_decoded_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
