/* What counts as central, by an answer's status and type. */
#include "edge/pull/central_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void only_an_answer_of_the_fleet_port_counts_as_central(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *type;
        bool good;
        const char *says;
    } cases[] = {
        {200, "application/x-protobuf", true, NULL},
        {200, "Application/X-Protobuf; v=1", true, NULL},
        {200, "application/json", false, "answers 200, but no protobuf"},
        {200, "application/x-protobuf-but-not", false, "no protobuf"},
        {200, NULL, false, "no protobuf"},
        {404, "text/plain; charset=utf-8", false, "not central's fleet port"},
        {404, "application/x-protobuf", false, "not central's fleet port"},
        {404, "text/plain", false, "it does not know what edges ask"},
        {405, "text/plain", false, "it does not know what edges ask"},
        {401, "application/json", false, "it answers 401"},
        {301, "text/html", false, "not central's fleet port"},
        {400, "text/html", false, "not central's fleet port"},
        {502, "text/html", false, "not central's fleet port"},
        /* Central, but not well. */
        {400, "text/plain; charset=utf-8", false, "it answers 400"},
        {503, "text/plain", false, "it answers 503"},
        {500, NULL, false, "it answers 500"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char why[160] = "";
        bool good = central_is_fleet_port(cases[i].status, cases[i].type, why);
        if (good != cases[i].good || (!good && !strstr(why, cases[i].says))) fail_msg("row %zu: %d %s", i, good, why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_an_answer_of_the_fleet_port_counts_as_central)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
