/* Parses quantities: a decimal number, then a unit from a table. Thread: any. */
#include "common/config/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* Digits after the decimal point that count; more would be below the smallest part of any unit. */
#define FRACTION_DIGITS 6
#define FRACTION_SCALE 1000000LL
/* A number of bytes below this, written without a unit, is more likely one whose unit was forgotten. */
#define SIZE_BARE_MIN 1024

/* Reads "12" or "1.5" and moves *s past it. Gives the whole part, and the fraction in millionths. */
static bool number_read(const char **s, int64_t *whole, int64_t *millionths) {
    const char *p = *s;
    if (*p < '0' || *p > '9') return false;
    *whole = 0;
    *millionths = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(*whole, 10, whole) || __builtin_add_overflow(*whole, *p - '0', whole)) return false;
    }
    if (*p == '.') {
        p++;
        int digits = 0;
        int64_t scale = FRACTION_SCALE;
        for (; *p >= '0' && *p <= '9'; p++) {
            if (++digits > FRACTION_DIGITS) return false;
            scale /= 10;
            *millionths += (*p - '0') * scale;
        }
        if (digits == 0) return false;
    }
    *s = p;
    return true;
}

/* Finds the unit at *s and moves past it. The end must follow, or a digit if more numbers may follow. */
static const struct unit *unit_read(const char **s, const struct unit *units, bool more) {
    size_t len = 0;
    while ((*s)[len] && !((*s)[len] >= '0' && (*s)[len] <= '9'))
        len++;
    if ((*s)[len] && !more) return NULL;
    for (const struct unit *u = units; u->name; u++) {
        if (strlen(u->name) == len && !memcmp(u->name, *s, len)) {
            *s += len;
            return u;
        }
    }
    return NULL;
}

/* total += number * factor, exact for the whole part, rounded down for the fraction. */
static bool quantity_add(int64_t *total, int64_t whole, int64_t millionths, int64_t factor) {
    int64_t part, rest;
    if (__builtin_mul_overflow(whole, factor, &part)) return false;
    __int128 fraction = (__int128)millionths * factor / FRACTION_SCALE;
    rest = (int64_t)fraction;
    return !__builtin_add_overflow(part, rest, &part) && !__builtin_add_overflow(*total, part, total);
}

/* Reads a number and its unit, with a blank allowed between; several in a row if `more`. */
static bool quantity_parse(const char *s, const struct unit *units, bool more, int64_t *out) {
    int64_t total = 0;
    do {
        int64_t whole, millionths;
        if (!number_read(&s, &whole, &millionths)) return false;
        if (*s == ' ' && s[1]) s++;
        const struct unit *u = unit_read(&s, units, more);
        if (!u || !quantity_add(&total, whole, millionths, u->factor)) return false;
    } while (*s && more);
    *out = total;
    return true;
}

int size_parse(const char *s, int64_t *bytes, struct error *err) {
    static const struct unit units[] = {
        {"", 1}, {"B", 1}, {"KiB", KiB}, {"MiB", MiB}, {"GiB", GiB}, {"TiB", 1024 * GiB}, {NULL, 0}};
    if (quantity_parse(s, units, false, bytes)) {
        bool bare = strspn(s, "0123456789.") == strlen(s);
        if (!bare || *bytes == 0 || *bytes >= SIZE_BARE_MIN) return 0;
        error_set(err, ERR_INVALID, "\"%.64s\" alone means %lld bytes", s, (long long)*bytes);
        error_hint(err, "if it should be more, write its unit, as %.40sGiB; if it is bytes, %lldB", s,
                   (long long)*bytes);
        return ERR_INVALID;
    }
    error_set(err, ERR_INVALID, "\"%.64s\" is not a size", s);
    error_hint(err, "write a number with KiB, MiB, GiB or TiB, or of bytes alone: 500GiB, 1.5TiB, 4096");
    return ERR_INVALID;
}

int duration_parse(const char *s, int64_t *ms, struct error *err) {
    static const struct unit units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
    if (!strcmp(s, "0")) {
        *ms = 0;
        return 0;
    }
    if (quantity_parse(s, units, true, ms)) return 0;
    error_set(err, ERR_INVALID, "\"%.64s\" is not a time", s);
    error_hint(err, "write a number with ms, s, m, h or d: 60s, 250ms, 1h30m, 7d");
    return ERR_INVALID;
}

int rate_parse(const char *s, int64_t *bytes_per_s, struct error *err) {
    /* In eighths of a byte, so that bits stay exact. */
    static const struct unit units[] = {{"bit/s", 1},           {"kbit/s", 1000},   {"Mbit/s", 1000000},
                                        {"Gbit/s", 1000000000}, {"B/s", 8},         {"KiB/s", 8 * KiB},
                                        {"MiB/s", 8 * MiB},     {"GiB/s", 8 * GiB}, {NULL, 0}};
    int64_t bits;
    if (!strcmp(s, "0")) {
        *bytes_per_s = 0;
        return 0;
    }
    if (quantity_parse(s, units, false, &bits)) {
        *bytes_per_s = bits / 8;
        return 0;
    }
    error_set(err, ERR_INVALID, "\"%.64s\" is not a rate", s);
    error_hint(err, "write a number with kbit/s, Mbit/s, Gbit/s, KiB/s, MiB/s or GiB/s: 20Mbit/s, 2.5MiB/s");
    return ERR_INVALID;
}

int frequency_parse(const char *s, int64_t min, int64_t max, int64_t *per_s, struct error *err) {
    char number[24];
    size_t len = strspn(s, "0123456789");
    bool whole = len > 0 && len < sizeof(number) && (!strcmp(s + len, "/s") || !strcmp(s, "0"));
    if (!whole) {
        error_set(err, ERR_INVALID, "\"%.64s\" is not a number of times a second", s);
        error_hint(err, "write it as 2/s, or 0");
        return ERR_INVALID;
    }
    memcpy(number, s, len);
    number[len] = '\0';
    return int_parse(number, min, max, per_s, err);
}

int bool_parse(const char *s, bool *value, struct error *err) {
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (!strcmp(s, yes[i]) || !strcmp(s, no[i])) {
            *value = !strcmp(s, yes[i]);
            return 0;
        }
    }
    error_set(err, ERR_INVALID, "\"%.64s\" is neither true nor false", s);
    error_hint(err, "write true or false");
    return ERR_INVALID;
}

int int_parse(const char *s, int64_t min, int64_t max, int64_t *value, struct error *err) {
    char *end = NULL;
    errno = 0;
    bool starts = (*s >= '0' && *s <= '9') || (*s == '-' && s[1] >= '0' && s[1] <= '9');
    long long n = starts ? strtoll(s, &end, 10) : 0;
    if (!starts || *end) return error_set(err, ERR_INVALID, "\"%.64s\" is not a whole number", s);
    if (errno || n < min || n > max) {
        return error_set(err, ERR_INVALID, "%.64s is out of range: it must be from %lld to %lld", s, (long long)min,
                         (long long)max);
    }
    *value = n;
    return 0;
}
