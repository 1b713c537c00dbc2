/* The messages for a registry port's certificate survive the wire, and what is out of bounds is refused. */
#include "common/wire/join_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/wire.h"
#include "proto/fleet.pb-c.h"

static uint8_t csr[] = {1, 2, 3};

static void a_request_for_a_certificate_comes_back_as_it_was(void **state) {
    (void)state;
    struct wire_certificate_request rq = {.csr = {csr, sizeof(csr)}, .names = {.n = WIRE_NAMES_MAX}}, got;
    uint8_t *bytes;
    size_t len;
    for (size_t i = 0; i < WIRE_NAMES_MAX; i++)
        snprintf(rq.names.list[i], WIRE_NAME_MAX, "n%zu.example", i);
    memset(rq.names.list[3], 'x', WIRE_NAME_MAX - 1);
    assert_int_equal(wire_certificate_request_encode(&rq, &bytes, &len), 0);
    assert_int_equal(wire_certificate_request_decode(&got, bytes, len), 0);
    assert_int_equal(got.version, WIRE_VERSION);
    assert_int_equal(got.csr.len, sizeof(csr));
    assert_memory_equal(got.csr.data, csr, sizeof(csr));
    assert_int_equal(got.names.n, WIRE_NAMES_MAX);
    assert_memory_equal(got.names.list, rq.names.list, sizeof(rq.names.list));
    wire_certificate_request_fini(&got);
    free(bytes);
}

static void a_certificate_and_what_was_refused_come_back_as_they_were(void **state) {
    (void)state;
    struct wire_certificate_response rs = {.chain = {{csr, 3}, {csr, 2}}, .n_chain = 2, .refused = {.n = 1}}, got;
    uint8_t *bytes;
    size_t len;
    strcpy(rs.refused.list[0], "docker.io");
    assert_int_equal(wire_certificate_response_encode(&rs, &bytes, &len), 0);
    assert_int_equal(wire_certificate_response_decode(&got, bytes, len), 0);
    assert_int_equal(got.n_chain, 2);
    assert_int_equal(got.chain[1].len, 2);
    assert_int_equal(got.refused.n, 1);
    assert_string_equal(got.refused.list[0], "docker.io");
    wire_certificate_response_fini(&got);
    free(bytes);
}

/* What a stranger may send instead. */
static int decode(uint32_t version, size_t csr_len, char **list, size_t n) {
    Entrepot__V1__ServerCertificateRequest p;
    struct wire_certificate_request got;
    uint8_t bytes[65536];
    entrepot__v1__server_certificate_request__init(&p);
    p.version = version;
    p.csr = (ProtobufCBinaryData){csr_len, csr};
    p.names = list;
    p.n_names = n;
    size_t len = entrepot__v1__server_certificate_request__pack(&p, bytes);
    int r = wire_certificate_request_decode(&got, bytes, len);
    wire_certificate_request_fini(&got);
    return r;
}

static void a_request_out_of_bounds_is_refused(void **state) {
    (void)state;
    char good[] = "a.example", empty[] = "", large[WIRE_NAME_MAX + 1], *many[WIRE_NAMES_MAX + 1];
    char *one[] = {good}, *none[] = {empty}, *long_one[] = {large};
    memset(large, 'a', WIRE_NAME_MAX);
    large[WIRE_NAME_MAX] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = good;
    assert_int_equal(decode(WIRE_VERSION, 3, one, 1), 0);
    assert_int_equal(decode(WIRE_VERSION, 3, many, WIRE_NAMES_MAX), 0);
    assert_int_equal(decode(WIRE_VERSION, 3, many, WIRE_NAMES_MAX + 1), ERR_INVALID);
    assert_int_equal(decode(WIRE_VERSION, 3, none, 1), ERR_INVALID);
    assert_int_equal(decode(WIRE_VERSION, 3, long_one, 1), ERR_INVALID);
    assert_int_equal(decode(WIRE_VERSION, 3, NULL, 0), ERR_INVALID);
    assert_int_equal(decode(WIRE_VERSION, 0, one, 1), ERR_INVALID);
    assert_int_equal(decode(WIRE_VERSION + 1, 3, one, 1), ERR_UNSUPPORTED);
    assert_int_equal(decode(0, 3, one, 1), ERR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_for_a_certificate_comes_back_as_it_was),
        cmocka_unit_test(a_certificate_and_what_was_refused_come_back_as_they_were),
        cmocka_unit_test(a_request_out_of_bounds_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
