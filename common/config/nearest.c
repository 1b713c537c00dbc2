/* Edit distance, for "did you mean". Thread: any. */
#include "common/config/nearest.h"

#include <string.h>

#define WORD_MAX 64

static unsigned min2(unsigned a, unsigned b) {
    return a < b ? a : b;
}

unsigned edit_distance(const char *a, const char *b) {
    size_t la = strnlen(a, WORD_MAX), lb = strnlen(b, WORD_MAX);
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *prev = rows[1], *cur = rows[2];
    for (size_t j = 0; j <= lb; j++)
        prev[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        cur[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned replace = prev[j - 1] + (a[i - 1] != b[j - 1]);
            cur[j] = min2(min2(prev[j], cur[j - 1]) + 1, replace);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) cur[j] = min2(cur[j], before[j - 2] + 1);
        }
        unsigned *spare = before;
        before = prev;
        prev = cur;
        cur = spare;
    }
    return prev[lb];
}

int nearest_word(const char *word, const char *const *words, size_t n) {
    int best = -1;
    unsigned best_distance = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = edit_distance(word, words[i]);
        if (best < 0 || d < best_distance) {
            best = (int)i;
            best_distance = d;
        }
    }
    /* Up to a third of the word may be wrong; two errors are allowed in a short word, one in the shortest. */
    size_t len = strnlen(word, WORD_MAX);
    return best >= 0 && best_distance <= (len > 6 ? len / 3 : len > 3 ? 2 : 1) && best_distance < len ? best : -1;
}
