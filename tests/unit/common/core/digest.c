/* Digests: the grammar, and that one pass of the running hash proves every piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "common/core/digest.h"
#include "common/core/error.h"

static const char EMPTY[] = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static int parse(struct digest *d, const char *s) {
    return digest_parse(d, s, strlen(s));
}

static void digest_parses_and_prints_what_it_parsed(void **state) {
    (void)state;
    struct digest d, again;
    char out[DIGEST_STR_MAX];
    assert_int_equal(parse(&d, EMPTY), 0);
    assert_string_equal(digest_str(&d, out), EMPTY);
    digest_of(&again, DIGEST_SHA256, "", 0);
    assert_true(digest_eq(&d, &again));
    digest_of(&d, DIGEST_SHA512, "abc", 3);
    digest_str(&d, out);
    assert_int_equal(strlen(out), 7 + 128);
    assert_int_equal(parse(&again, out), 0);
    assert_true(digest_eq(&d, &again));
}

static void digest_refuses_malformed_text(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      ":",
                                      "sha256",
                                      "sha256:",
                                      "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
                                      "sha256:../../../etc/passwd",
                                      "sha256:e3b0",
                                      "SHA256:00",
                                      "sha 256:00",
                                      "+:00",
                                      "a:",
                                      "a:b c"};
    struct digest d;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(parse(&d, bad[i]), ERR_INVALID);
    assert_int_equal(parse(&d, "blake3:abcdef"), ERR_UNSUPPORTED);
    assert_int_equal(parse(&d, "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8"), ERR_UNSUPPORTED);
    assert_int_equal(d.alg, DIGEST_NONE);
}

static void hasher_proves_each_piece_from_the_value_at_its_start(void **state) {
    (void)state;
    for (int alg = DIGEST_SHA256; alg <= DIGEST_SHA512; alg++) {
        const size_t size = 3 * (size_t)PIECE_SIZE + 12345;
        unsigned char *data = malloc(size);
        assert_non_null(data);
        for (size_t i = 0; i < size; i++)
            data[i] = (unsigned char)(i * 31 + i / 4096);
        struct hasher h;
        uint8_t proofs[3][PIECE_PROOF_MAX];
        hasher_init(&h, (enum digest_alg)alg);
        for (int p = 0; p < 3; p++) {
            hasher_update(&h, data + p * PIECE_SIZE, (size_t)PIECE_SIZE);
            hasher_proof(&h, proofs[p]);
        }
        hasher_update(&h, data + 3 * PIECE_SIZE, 12345);
        struct digest whole, expected;
        hasher_final(&h, &whole);
        digest_of(&expected, (enum digest_alg)alg, data, size);
        assert_true(digest_eq(&whole, &expected));

        uint8_t proof[PIECE_PROOF_MAX];
        hasher_resume(&h, (enum digest_alg)alg, (uint64_t)PIECE_SIZE, proofs[0]);
        hasher_update(&h, data + PIECE_SIZE, (size_t)PIECE_SIZE);
        hasher_proof(&h, proof);
        assert_memory_equal(proof, proofs[1], digest_len((enum digest_alg)alg));
        hasher_resume(&h, (enum digest_alg)alg, 3 * (uint64_t)PIECE_SIZE, proofs[2]);
        hasher_update(&h, data + 3 * PIECE_SIZE, 12345);
        hasher_final(&h, &whole);
        assert_true(digest_eq(&whole, &expected));

        data[PIECE_SIZE + 77] ^= 1;
        hasher_resume(&h, (enum digest_alg)alg, (uint64_t)PIECE_SIZE, proofs[0]);
        hasher_update(&h, data + PIECE_SIZE, (size_t)PIECE_SIZE);
        hasher_proof(&h, proof);
        assert_memory_not_equal(proof, proofs[1], digest_len((enum digest_alg)alg));
        free(data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_parses_and_prints_what_it_parsed),
        cmocka_unit_test(digest_refuses_malformed_text),
        cmocka_unit_test(hasher_proves_each_piece_from_the_value_at_its_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
