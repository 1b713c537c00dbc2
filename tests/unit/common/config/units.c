/* Sizes, times, rates, truth, numbers: what each unit is worth, and what is none. */
#include "common/config/units.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/config/nearest.h"

struct good {
    const char *text;
    int64_t value;
};

static void sizes_are_powers_of_1024(void **state) {
    (void)state;
    static const struct good good[] = {
        {"0", 0},       {"4096", 4096},        {"1024", 1024},           {"50B", 50},          {"12B", 12},
        {"1KiB", 1024}, {"500GiB", 500 * GiB}, {"1.5 MiB", 3 * MiB / 2}, {"2TiB", 2048 * GiB}, {"0.000001MiB", 1}};
    static const char *const bad[] = {"",
                                      "KiB",
                                      "5GB",
                                      "5G",
                                      "5 ",
                                      " 5",
                                      "-1",
                                      "+5",
                                      "1.MiB",
                                      "1..5MiB",
                                      "1e3",
                                      "5gib",
                                      "5GiB ",
                                      "5GiBx",
                                      "0x5",
                                      "5  GiB",
                                      "9TiB9",
                                      "99999999999999999999",
                                      "9000000000TiB",
                                      "1.1234567MiB",
                                      ".5GiB",
                                      "50",
                                      "1",
                                      "1000",
                                      "1023"};
    int64_t v;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(size_parse(good[i].text, &v, NULL), 0);
        assert_int_equal(v, good[i].value);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        assert_int_equal(size_parse(bad[i], &v, &err), ERR_INVALID);
        assert_true(err.msg[0] && err.hint[0]);
    }
}

static void times_need_units_and_add_up(void **state) {
    (void)state;
    static const struct good good[] = {{"0", 0},       {"60s", 60000},           {"250ms", 250},
                                       {"1m", 60000},  {"1h30m", 5400000},       {"7d", 7 * 86400000LL},
                                       {"1.5s", 1500}, {"1d2h3m4s5ms", 93784005}};
    static const char *const bad[] = {
        "", "5", "s", "5S", "5 min", "1h30", "-5s", "5s ", "5sec", "99999999999999999d", "1h-5m"};
    int64_t v;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(duration_parse(good[i].text, &v, NULL), 0);
        assert_int_equal(v, good[i].value);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(duration_parse(bad[i], &v, NULL), ERR_INVALID);
}

static void rates_are_bits_by_thousands_or_bytes_by_1024(void **state) {
    (void)state;
    static const struct good good[] = {
        {"20Mbit/s", 2500000}, {"1Gbit/s", 125000000}, {"8kbit/s", 1000}, {"2.5MiB/s", 5 * MiB / 2},
        {"1GiB/s", GiB},       {"1KiB/s", 1024},       {"0", 0}};
    static const char *const bad[] = {"",       "20",       "20M",    "20Mbit",  "20Mb/s",
                                      "20MB/s", "20mbit/s", "20Mbps", "-1MiB/s", "9999999999GiB/s"};
    int64_t v;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(rate_parse(good[i].text, &v, NULL), 0);
        assert_int_equal(v, good[i].value);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(rate_parse(bad[i], &v, NULL), ERR_INVALID);
}

static void booleans_are_one_of_six_words(void **state) {
    (void)state;
    bool v;
    assert_int_equal(bool_parse("yes", &v, NULL), 0);
    assert_true(v);
    assert_int_equal(bool_parse("off", &v, NULL), 0);
    assert_false(v);
    assert_int_equal(bool_parse("True", &v, NULL), ERR_INVALID);
    assert_int_equal(bool_parse("1", &v, NULL), ERR_INVALID);
    assert_int_equal(bool_parse("", &v, NULL), ERR_INVALID);
}

static void whole_numbers_keep_their_range(void **state) {
    (void)state;
    static const char *const bad[] = {"", "-", "4", "11", "5.0", "0x5", " 5", "5 ", "+5", "99999999999999999999999"};
    int64_t v;
    assert_int_equal(int_parse("5", 5, 10, &v, NULL), 0);
    assert_int_equal(int_parse("10", 5, 10, &v, NULL), 0);
    assert_int_equal(v, 10);
    assert_int_equal(int_parse("-3", -5, 10, &v, NULL), 0);
    assert_int_equal(v, -3);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(int_parse(bad[i], 5, 10, &v, NULL), ERR_INVALID);
}

static void nearest_word_forgives_slips_but_does_not_guess(void **state) {
    (void)state;
    static const char *const words[] = {"listen", "limit", "min_free", "serve"};
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
    assert_int_equal(edit_distance("ab", "ba"), 1);
    assert_int_equal(edit_distance("", "abc"), 3);
    assert_int_equal(nearest_word("limt", words, 4), 1);
    assert_int_equal(nearest_word("lisetn", words, 4), 0);
    assert_int_equal(nearest_word("min-free", words, 4), 2);
    assert_int_equal(nearest_word("password", words, 4), -1);
    assert_int_equal(nearest_word("xy", words, 4), -1);
    assert_int_equal(nearest_word("", words, 4), -1);
    assert_int_equal(nearest_word("a", words, 0), -1);
}

static void frequencies_are_whole_times_a_second(void **state) {
    (void)state;
    int64_t v;
    assert_int_equal(frequency_parse("2/s", 0, 1000, &v, NULL), 0);
    assert_int_equal(v, 2);
    assert_int_equal(frequency_parse("0", 0, 1000, &v, NULL), 0);
    assert_int_equal(v, 0);
    static const char *const bad[] = {
        "", "2", "/s", "2/m", "1.5/s", "-1/s", "2/s ", "1001/s", "99999999999999999999999/s"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(frequency_parse(bad[i], 0, 1000, &v, NULL), ERR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(times_need_units_and_add_up),
        cmocka_unit_test(rates_are_bits_by_thousands_or_bytes_by_1024),
        cmocka_unit_test(frequencies_are_whole_times_a_second),
        cmocka_unit_test(booleans_are_one_of_six_words),
        cmocka_unit_test(whole_numbers_keep_their_range),
        cmocka_unit_test(nearest_word_forgives_slips_but_does_not_guess),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
