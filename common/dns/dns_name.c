/* Parses, prints and hashes domain names. Thread: any. */
#include "common/dns/dns_name.h"

#include <string.h>

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool dns_name_parse(struct dns_name *out, const char *text) {
    size_t at = 0;
    if (strcmp(text, ".") == 0) text = "";
    while (*text) {
        size_t len = strcspn(text, ".");
        if (len == 0 || len > DNS_LABEL_MAX || at + 1 + len + 1 > DNS_NAME_MAX) return false;
        out->wire[at++] = (uint8_t)len;
        for (size_t i = 0; i < len; i++) {
            char c = lower(text[i]);
            if (!is_letter(c)) return false;
            out->wire[at++] = (uint8_t)c;
        }
        text += len;
        if (*text) text++;
    }
    out->wire[at++] = 0;
    out->len = (uint8_t)at;
    return true;
}

bool dns_name_parse_in(struct dns_name *out, const char *text, const struct dns_name *zone) {
    size_t len = strlen(text);
    if (strcmp(text, "@") == 0) {
        *out = *zone;
        return true;
    }
    if (!dns_name_parse(out, text) || len == 0) return false;
    if (text[len - 1] == '.') return true;
    size_t own = out->len - 1u;
    if (own + zone->len > DNS_NAME_MAX) return false;
    memcpy(out->wire + own, zone->wire, zone->len);
    out->len = (uint8_t)(own + zone->len);
    return true;
}

int dns_name_below(const struct dns_name *name, const struct dns_name *zone) {
    size_t at = 0;
    while (name->len - at > zone->len)
        at += 1u + name->wire[at];
    if (name->len - at != zone->len || memcmp(name->wire + at, zone->wire, zone->len) != 0) return -1;
    return (int)at;
}

const char *dns_name_text(const struct dns_name *name, char out[DNS_NAME_TEXT_MAX]) {
    size_t at = 0, to = 0;
    while (name->wire[at]) {
        if (to) out[to++] = '.';
        memcpy(out + to, name->wire + at + 1, name->wire[at]);
        to += name->wire[at];
        at += 1u + name->wire[at];
    }
    if (to == 0) out[to++] = '.';
    out[to] = '\0';
    return out;
}

/* FNV-1a, eight bytes at a time, then mixed: names are short, and all of them are ours. */
uint64_t dns_name_hash(const uint8_t *wire, size_t len) {
    uint64_t h = 0xcbf29ce484222325ULL ^ len, word;
    for (; len >= 8; wire += 8, len -= 8) {
        memcpy(&word, wire, 8);
        h = (h ^ word) * 0x100000001b3ULL;
        h ^= h >> 29;
    }
    word = 0;
    memcpy(&word, wire, len);
    return dns_mix(h ^ word);
}
