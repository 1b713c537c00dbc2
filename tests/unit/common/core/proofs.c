/* Proofs gathered while a blob is hashed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/core/proofs.h"

#define SIZE (2 * (size_t)PIECE_SIZE)

static unsigned char *data;

static int set_up(void **state) {
    (void)state;
    data = malloc(SIZE + 1);
    for (size_t i = 0; data && i <= SIZE; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 13);
    return data ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    free(data);
    return 0;
}

static struct piece_proofs gather(enum digest_alg alg, size_t size, size_t chunk) {
    struct piece_proofs p = {0};
    struct hasher h;
    struct digest got, whole;
    hasher_init(&h, alg);
    for (size_t at = 0; at < size; at += chunk)
        piece_proofs_update(&p, &h, data + at, size - at < chunk ? size - at : chunk);
    hasher_final(&h, &got);
    digest_of(&whole, alg, data, size);
    assert_true(digest_eq(&got, &whole));
    return p;
}

static void each_piece_but_the_last_has_its_proof_however_the_bytes_come(void **state) {
    (void)state;
    const size_t chunks[] = {SIZE + 1, (size_t)PIECE_SIZE, 1000003};
    for (int alg = DIGEST_SHA256; alg <= DIGEST_SHA512; alg++) {
        uint8_t expected[2][PIECE_PROOF_MAX];
        struct hasher h;
        hasher_init(&h, (enum digest_alg)alg);
        for (size_t i = 0; i < 2; i++) {
            hasher_update(&h, data + i * (size_t)PIECE_SIZE, (size_t)PIECE_SIZE);
            hasher_proof(&h, expected[i]);
        }
        for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
            struct piece_proofs p = gather((enum digest_alg)alg, SIZE + 1, chunks[i]);
            size_t len = digest_len((enum digest_alg)alg);
            assert_int_equal(p.n, 2);
            assert_memory_equal(p.list, expected[0], len);
            assert_memory_equal(p.list + len, expected[1], len);
            piece_proofs_fini(&p);
        }
    }
}

static void a_blob_that_ends_with_a_piece_has_no_proof_there(void **state) {
    (void)state;
    struct piece_proofs p = gather(DIGEST_SHA256, SIZE, (size_t)PIECE_SIZE);
    assert_int_equal(p.n, 1);
    piece_proofs_fini(&p);
    p = gather(DIGEST_SHA256, (size_t)PIECE_SIZE, (size_t)PIECE_SIZE);
    assert_int_equal(p.n, 0);
    piece_proofs_fini(&p);
    p = gather(DIGEST_SHA256, 0, 1);
    assert_int_equal(p.n, 0);
    piece_proofs_fini(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_piece_but_the_last_has_its_proof_however_the_bytes_come),
        cmocka_unit_test(a_blob_that_ends_with_a_piece_has_no_proof_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
