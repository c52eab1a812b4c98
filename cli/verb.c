#include "cli/verb.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "encoder/strings.h"

int verb_error(const char *verb, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "cprof: %s: ", verb);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return STATUS_ERROR;
}

bool verb_colours(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fileno(stream)) && !(no_color && *no_color) && term &&
           strcmp(term, "dumb") != 0;
}

void verb_put_text(const char *text, FILE *stream)
{
    char *clean = malloc(UTF8_GROWTH * strlen(text) + 1);

    if (!clean)
        return;
    utf8_copy(clean, text);
    for (const unsigned char *c = (const unsigned char *)clean; *c; c++) {
        const bool is_c1 = *c == 0xc2 && c[1] < 0xa0; /* U+0080 to U+009F */
        fputc(*c < ' ' || *c == 0x7f || is_c1 ? '?' : *c, stream);
        c += is_c1;
    }
    free(clean);
}

/* `text` as a word that a shell reads back. */
static void put_word(const char *text, FILE *stream)
{
    const char *plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";

    if (*text && !text[strspn(text, plain)]) {
        fputs(text, stream);
        return;
    }
    fputc('\'', stream);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stream);
        else
            fputc(*text, stream);
    fputc('\'', stream);
}

int verb_done(const char *verb, const char *words, const char *file)
{
    printf("next: %s ", words);
    put_word(file, stdout);
    putchar('\n');
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        return verb_error(verb, "standard output: %s", strerror(errno ? errno : EIO));
    return 0;
}
