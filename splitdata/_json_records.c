/* JSON texts become records of samples that are bound to schemas which are known, without a Python value for each part.

   What `json` and splitdata/samples do together, for texts of the usual kind; docs/format/samples.md has the layout.

       {"id": 7, "tags": ["a"]} ──walk──> schema    DICT 2 | "id" | INT | "tags" | LIST 1 | TEXT ──> its number
                                          scalars   7        payloads  "a"        ──put together──> a record
           └─ no JSON, a name twice, an int of more than 18 digits, NaN, deep nesting, a schema that is new: stops

   It stops at the first text that is not usual: the Python path makes a sample of that one, or the error. Nothing is
   raised here for what a text holds. Every byte is looked at within the bounds of its text, in memory that no one
   changes. Calls hold the GIL: who calls says how much is done at a time. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_json_records.h"

/* Of docs/format/samples.md, as splitdata/samples/sample_spec.py has them. */
enum { KIND_NONE, KIND_BOOL, KIND_INT, KIND_FLOAT = 4, KIND_TEXT, KIND_LIST = 16, KIND_DICT = 18, KIND_INT_LIST = 21,
       KIND_FLOAT_LIST = 22 };
#define KEY_TEXT 0
#define MAX_DEPTH 64
#define ARRAY_ALIGNMENT 64
#define SAMPLE_MAGIC "\x8dSM"
/* No schema of a segment is longer. */
#define MOST_SCHEMA_BYTES (64 << 10)
/* Names of one object, each of which is compared with all others. */
#define MOST_NAMES 64
/* That fit into 64 bits whatever they are; and characters of a number with a point or an exponent. */
#define MOST_DIGITS 18
#define MOST_FLOAT_CHARACTERS 63

/* ---- what is collected ------------------------------------------------------------------------------------------- */

/* Bytes that grow. */
typedef struct {
    uint8_t *data;
    size_t size, room;
} Buffer;

/* Bytes of a text or of a list of numbers: in the text itself, or, where that is NULL, at a place of what was made. */
typedef struct {
    const uint8_t *data;
    size_t place;
    uint32_t size;
    uint32_t extent;
    uint32_t is_array;
} Payload;

/* The name of a part: where it stands in the text. */
typedef struct {
    const uint8_t *data;
    size_t size;
} Name;

/* One text, and what was found in it so far. */
typedef struct {
    const uint8_t *place, *end;
    Buffer schema, scalars, payloads, made, names;
    int has_failed; /* for want of memory, by an exception */
} Walk;

static uint8_t *grown(Walk *walk, Buffer *buffer, size_t size) {
    if (buffer->room - buffer->size < size) {
        size_t room = (buffer->size + size) * 2 + 256;
        uint8_t *data = PyMem_Realloc(buffer->data, room);
        if (data == NULL) {
            walk->has_failed = 1;
            return NULL;
        }
        buffer->data = data;
        buffer->room = room;
    }
    uint8_t *target = buffer->data + buffer->size;
    buffer->size += size;
    return target;
}

static int add(Walk *walk, Buffer *buffer, const void *data, size_t size) {
    uint8_t *target = size ? grown(walk, buffer, size) : NULL;
    if (target != NULL) memcpy(target, data, size);
    return target != NULL || !size;
}

static int add_kind(Walk *walk, uint8_t kind) {
    return walk->schema.size < MOST_SCHEMA_BYTES && add(walk, &walk->schema, &kind, 1);
}

/* Adds a kind and a number that is put there later; returns where in the schema, 0 if it cannot. */
static size_t add_counted(Walk *walk, uint8_t kind) {
    uint32_t count = 0;
    if (!add_kind(walk, kind) || !add(walk, &walk->schema, &count, sizeof count)) return 0;
    return walk->schema.size - sizeof count;
}

static int add_scalar(Walk *walk, const void *scalar) { return add(walk, &walk->scalars, scalar, 8); }

/* ---- texts ------------------------------------------------------------------------------------------------------- */

#define EACH_BYTE 0x0101010101010101ULL
#define HIGH_BITS 0x8080808080808080ULL

static inline uint64_t word_at(const uint8_t *place) {
    uint64_t word;
    return memcpy(&word, place, sizeof word), word;
}

/* Bytes of a word that are less than a number of up to 128; below the lowest one that is marked, none is wrong. */
static inline uint64_t less_than(uint64_t word, uint64_t number) {
    return (word - EACH_BYTE * number) & ~word & HIGH_BITS;
}

/* Whether bytes are UTF-8 as Python decodes it: the shortest form, no surrogates, up to U+10FFFF. */
static int is_utf8(const uint8_t *place, const uint8_t *end) {
    while (place < end) {
        if (end - place >= 8 && !(word_at(place) & HIGH_BITS)) {
            place += 8;
            continue;
        }
        uint8_t first = *place++;
        if (first < 0x80) continue;
        int more = first < 0xc2 ? -1 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : -1;
        if (more < 0 || end - place < more) return 0;
        uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (*place < low || *place > high) return 0;
        for (int i = 1; i < more; i++)
            if ((place[i] & 0xc0) != 0x80) return 0;
        place += more;
    }
    return 1;
}

/* Returns where the next quote or backslash is; NULL if there is none, or a control character comes before it. */
static const uint8_t *string_end(const uint8_t *place, const uint8_t *end) {
    for (; end - place >= 8; place += 8) {
        uint64_t word = word_at(place);
        uint64_t found = less_than(word ^ EACH_BYTE * '"', 1) | less_than(word ^ EACH_BYTE * '\\', 1);
        found |= less_than(word, 0x20);
        if (found) {
            place += __builtin_ctzll(found) / 8;
            return *place < 0x20 ? NULL : place;
        }
    }
    for (; place < end && *place >= 0x20; place++)
        if (*place == '"' || *place == '\\') return place;
    return NULL;
}

/* Reads four hexadecimal digits; -1 if they are none. */
static int32_t hexadecimal(const uint8_t *place, const uint8_t *end) {
    int32_t value = 0;
    if (end - place < 4) return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t letter = place[i] | 0x20;
        int digit = place[i] >= '0' && place[i] <= '9' ? place[i] - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* As UTF-8, lone surrogates as they are; returns how many bytes. */
static size_t put_utf8(uint8_t *target, uint32_t point) {
    if (point < 0x80) return target[0] = (uint8_t)point, 1;
    if (point < 0x800) return target[0] = (uint8_t)(0xc0 | point >> 6), target[1] = (uint8_t)(0x80 | (point & 0x3f)), 2;
    size_t more = point < 0x10000 ? 2 : 3;
    target[0] = (uint8_t)((more == 2 ? 0xe0 : 0xf0) | point >> 6 * more);
    for (size_t i = 1; i <= more; i++) target[i] = (uint8_t)(0x80 | (point >> 6 * (more - i) & 0x3f));
    return more + 1;
}

/* Adds what an escape stands for to what was made; `walk->place` is behind its backslash. */
static int add_escaped(Walk *walk) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (walk->place == walk->end) return 0;
    uint8_t letter = *walk->place++;
    if (letter != 'u') {
        const char *found = letter ? strchr(letters, letter) : NULL;
        return found != NULL && add(walk, &walk->made, meanings + (found - letters), 1);
    }
    int32_t point = hexadecimal(walk->place, walk->end);
    if (point < 0) return 0;
    walk->place += 4;
    if (point >= 0xd800 && point < 0xdc00 && walk->end - walk->place >= 6 && walk->place[0] == '\\' && walk->place[1] == 'u') {
        int32_t low = hexadecimal(walk->place + 2, walk->end);
        if (low >= 0xdc00 && low < 0xe000) {
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            walk->place += 6;
        }
    }
    uint8_t bytes[4];
    return add(walk, &walk->made, bytes, put_utf8(bytes, (uint32_t)point));
}

/* Reads a string behind its first quote: where it stands in the text, or, with escapes in it, in what was made. */
static int read_string(Walk *walk, Payload *found) {
    const uint8_t *begin = walk->place, *stop = string_end(begin, walk->end);
    if (stop == NULL) return 0;
    *found = (Payload){begin, 0, (uint32_t)(stop - begin), (uint32_t)(stop - begin), 0};
    walk->place = stop + 1;
    if (*stop == '"') return 1;
    found->data = NULL;
    found->place = walk->made.size;
    if (!add(walk, &walk->made, begin, (size_t)(stop - begin))) return 0;
    while (*stop == '\\') {
        if (!add_escaped(walk)) return 0;
        begin = walk->place;
        if ((stop = string_end(begin, walk->end)) == NULL) return 0;
        if (!add(walk, &walk->made, begin, (size_t)(stop - begin))) return 0;
        walk->place = stop + 1;
    }
    found->size = found->extent = (uint32_t)(walk->made.size - found->place);
    return 1;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static inline int skip_blanks(Walk *walk) {
    while (walk->place < walk->end && (*walk->place == ' ' || *walk->place == '\t' || *walk->place == '\n' || *walk->place == '\r'))
        walk->place++;
    return walk->place < walk->end;
}

/* Skips blanks, and a character if it is the next one. */
static inline int takes(Walk *walk, uint8_t character) {
    if (!skip_blanks(walk) || *walk->place != character) return 0;
    return walk->place++, 1;
}

static int read_word(Walk *walk, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(walk->end - walk->place) < size || memcmp(walk->place, word, size) != 0) return 0;
    return walk->place += size, 1;
}

static const uint8_t *behind_digits(const uint8_t *place, const uint8_t *end) {
    while (place < end && *place >= '0' && *place <= '9') place++;
    return place;
}

/* Returns the kind that was added, 0 (which is no kind of a number) if it is none of the usual. */
static int read_number(Walk *walk) {
    const uint8_t *begin = walk->place, *end = walk->end, *digits = begin + (*begin == '-');
    const uint8_t *place = behind_digits(digits, end), *next;
    int64_t whole = 0;
    if (place == digits || (*digits == '0' && place - digits > 1)) return 0;
    const uint8_t *whole_end = place;
    if (place < end && *place == '.' && (next = behind_digits(place + 1, end)) > place + 1) place = next;
    if (place < end && (*place | 0x20) == 'e') {
        next = place + 1 + (place + 1 < end && (place[1] == '-' || place[1] == '+'));
        const uint8_t *behind = behind_digits(next, end);
        if (behind > next) place = behind;
    }
    walk->place = place;
    if (place == whole_end) {
        if (place - digits > MOST_DIGITS) return 0;
        for (next = digits; next < place; next++) whole = whole * 10 + (*next - '0');
        whole = digits > begin ? -whole : whole;
        return add_kind(walk, KIND_INT) && add_scalar(walk, &whole) ? KIND_INT : 0;
    }
    char text[MOST_FLOAT_CHARACTERS + 1];
    if (place - begin > MOST_FLOAT_CHARACTERS) return 0;
    memcpy(text, begin, (size_t)(place - begin));
    text[place - begin] = 0;
    double number = PyOS_string_to_double(text, NULL, NULL);
    if (number == -1.0 && PyErr_Occurred()) return PyErr_Clear(), 0;
    return add_kind(walk, KIND_FLOAT) && add_scalar(walk, &number) ? KIND_FLOAT : 0;
}

static int read_value(Walk *walk, int depth);

/* Behind "[": a list of numbers of one kind is a payload, any other has parts. Returns the kind, -1 if it is not usual. */
static int read_list(Walk *walk, int depth) {
    size_t first_scalar = walk->scalars.size, begin = walk->schema.size;
    size_t place = depth < MAX_DEPTH ? add_counted(walk, KIND_LIST) : 0;
    uint32_t count = 0;
    int kinds = 0; /* of numbers: that of all so far, 0 for others */
    if (!place) return -1;
    if (!takes(walk, ']')) {
        do {
            int kind = read_value(walk, depth + 1);
            if (kind < 0) return -1;
            kind = kind == KIND_INT || kind == KIND_FLOAT ? kind : 0;
            kinds = count == 0 || kind == kinds ? kind : 0;
            count++;
        } while (takes(walk, ','));
        if (!takes(walk, ']')) return -1;
    }
    memcpy(walk->schema.data + place, &count, sizeof count);
    if (!kinds) return KIND_LIST;
    uint32_t size = count * 8U;
    Payload found = {NULL, walk->made.size, size, count, 1};
    if (count > UINT32_MAX / 8 || !add(walk, &walk->made, walk->scalars.data + first_scalar, size)) return -1;
    walk->schema.size = begin;
    walk->scalars.size = first_scalar;
    int kind = kinds == KIND_INT ? KIND_INT_LIST : KIND_FLOAT_LIST;
    return add_kind(walk, (uint8_t)kind) && add(walk, &walk->payloads, &found, sizeof found) ? kind : -1;
}

/* Adds the name of a part; `first` is where the names of its object begin. */
static int read_name(Walk *walk, size_t first) {
    Payload found;
    if (!takes(walk, '"') || !read_string(walk, &found) || found.data == NULL) return 0;
    size_t count = (walk->names.size - first) / sizeof(Name);
    for (size_t i = 0; i < count; i++) {
        Name other;
        memcpy(&other, walk->names.data + first + i * sizeof other, sizeof other);
        if (other.size == found.size && memcmp(other.data, found.data, found.size) == 0) return 0;
    }
    Name name = {found.data, found.size};
    if (count == MOST_NAMES || found.size > MOST_SCHEMA_BYTES || !add(walk, &walk->names, &name, sizeof name)) return 0;
    if (!add_kind(walk, KEY_TEXT) || !add(walk, &walk->schema, &found.size, sizeof found.size)) return 0;
    return add(walk, &walk->schema, found.data, found.size) && takes(walk, ':');
}

/* Behind "{". Returns the kind, -1 if it is not usual. */
static int read_object(Walk *walk, int depth) {
    size_t first_name = walk->names.size, place = depth < MAX_DEPTH ? add_counted(walk, KIND_DICT) : 0;
    uint32_t count = 0;
    if (!place) return -1;
    if (!takes(walk, '}')) {
        do {
            if (!read_name(walk, first_name) || read_value(walk, depth + 1) < 0) return -1;
            count++;
        } while (takes(walk, ','));
        if (!takes(walk, '}')) return -1;
    }
    memcpy(walk->schema.data + place, &count, sizeof count);
    walk->names.size = first_name;
    return KIND_DICT;
}

/* Returns the kind of the value that comes next, -1 if it is not usual. */
static int read_value(Walk *walk, int depth) {
    if (!skip_blanks(walk)) return -1;
    uint64_t is_true = *walk->place == 't';
    Payload text;
    int kind;
    switch (*walk->place) {
    case '"':
        walk->place++;
        if (!read_string(walk, &text)) return -1;
        return add_kind(walk, KIND_TEXT) && add(walk, &walk->payloads, &text, sizeof text) ? KIND_TEXT : -1;
    case '{':
        return walk->place++, read_object(walk, depth);
    case '[':
        return walk->place++, read_list(walk, depth);
    case 't':
    case 'f':
        if (!read_word(walk, is_true ? "true" : "false")) return -1;
        return add_kind(walk, KIND_BOOL) && add_scalar(walk, &is_true) ? KIND_BOOL : -1;
    case 'n':
        return read_word(walk, "null") && add_kind(walk, KIND_NONE) ? KIND_NONE : -1;
    case '-':
    case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        return (kind = read_number(walk)) ? kind : -1;
    default:
        return -1;
    }
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static inline size_t aligned(size_t place, size_t alignment) { return (place + alignment - 1) / alignment * alignment; }

/* Where the payloads of arrays of one size class go; with a target they are put there. Returns the end. */
static size_t put_arrays(const Walk *walk, size_t end, int is_large, uint8_t *target) {
    const Payload *payloads = (const Payload *)walk->payloads.data;
    size_t count = walk->payloads.size / sizeof *payloads;
    for (size_t i = 0; i < count; i++) {
        if (!payloads[i].is_array || (payloads[i].size >= ARRAY_ALIGNMENT) != is_large) continue;
        size_t place = aligned(end, is_large ? ARRAY_ALIGNMENT : 8);
        if (target != NULL) {
            memset(target + end, 0, place - end);
            memcpy(target + place, walk->made.data + payloads[i].place, payloads[i].size);
        }
        end = place + payloads[i].size;
    }
    return end;
}

/* All arrays and scalars; returns where texts begin. Everything before the first scalar has whole slots. */
static size_t put_fixed(const Walk *walk, uint8_t *target) {
    size_t end = put_arrays(walk, 0, 1, target);
    if (target != NULL && walk->scalars.size) memcpy(target + end, walk->scalars.data, walk->scalars.size);
    return put_arrays(walk, end + walk->scalars.size, 0, target);
}

/* Returns the record of a text that was read to its end. */
static PyObject *record_of(const Walk *walk, uint32_t number) {
    const Payload *payloads = (const Payload *)walk->payloads.data;
    size_t count = walk->payloads.size / sizeof *payloads, texts = 0, fixed = put_fixed(walk, NULL);
    for (size_t i = 0; i < count; i++) texts += payloads[i].is_array ? 0 : payloads[i].size;
    PyObject *record = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(fixed + texts + (count + 1) * sizeof number));
    if (record == NULL) return NULL;
    uint8_t *target = (uint8_t *)PyBytes_AsString(record);
    put_fixed(walk, target);
    target += fixed;
    for (size_t i = 0; i < count; i++) {
        if (payloads[i].is_array || !payloads[i].size) continue;
        memcpy(target, payloads[i].data != NULL ? payloads[i].data : walk->made.data + payloads[i].place, payloads[i].size);
        target += payloads[i].size;
    }
    for (size_t i = 0; i < count; i++, target += sizeof number) memcpy(target, &payloads[i].extent, sizeof number);
    memcpy(target, &number, sizeof number);
    return record;
}

/* Returns the number of the schema that a walk has found, -1 if it is new or an exception is set. */
static int64_t number_of(const Walk *walk, PyObject *numbers) {
    PyObject *schema = PyBytes_FromStringAndSize((const char *)walk->schema.data, (Py_ssize_t)walk->schema.size);
    if (schema == NULL) return -1;
    PyObject *number = PyDict_GetItemWithError(numbers, schema);
    Py_DECREF(schema);
    if (number == NULL) return -1;
    long long value = PyLong_AsLongLong(number);
    return value >= 0 && value <= UINT32_MAX ? value : -1;
}

/* Returns the record of one text; NULL, mostly without an exception, if it is not usual. */
static PyObject *read_record(Walk *walk, PyObject *text, PyObject *numbers) {
    walk->schema.size = walk->scalars.size = walk->payloads.size = walk->made.size = walk->names.size = 0;
    if (!PyBytes_CheckExact(text) || PyBytes_Size(text) > INT32_MAX) return NULL;
    walk->place = (const uint8_t *)PyBytes_AsString(text);
    walk->end = walk->place + PyBytes_Size(text);
    if (!is_utf8(walk->place, walk->end) || read_value(walk, 0) < 0 || skip_blanks(walk)) return NULL;
    if (walk->schema.size > MOST_SCHEMA_BYTES) return NULL;
    int64_t number = number_of(walk, numbers);
    PyObject *record = number < 0 ? NULL : record_of(walk, (uint32_t)number);
    /* A bound sample that would look like one that stands alone. */
    if (record != NULL && memcmp(PyBytes_AsString(record), SAMPLE_MAGIC, strlen(SAMPLE_MAGIC)) == 0) Py_CLEAR(record);
    return record;
}

PyObject *json_records(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *texts, *numbers;
    Py_ssize_t start, most, most_bytes, num_bytes = 0;
    if (!PyArg_ParseTuple(args, "O!nnnO!", &PyList_Type, &texts, &start, &most, &most_bytes, &PyDict_Type, &numbers)) return NULL;
    PyObject *records = PyList_New(0);
    Walk walk;
    memset(&walk, 0, sizeof walk);
    for (Py_ssize_t i = start; records != NULL && i >= 0 && i < PyList_Size(texts) && i - start < most && num_bytes < most_bytes; i++) {
        PyObject *text = PyList_GetItem(texts, i);
        Py_INCREF(text);
        PyObject *record = read_record(&walk, text, numbers);
        Py_DECREF(text);
        if (record == NULL) break;
        num_bytes += PyBytes_Size(record);
        int result = PyList_Append(records, record);
        Py_DECREF(record);
        if (result < 0) break;
    }
    Buffer *buffers[] = {&walk.schema, &walk.scalars, &walk.payloads, &walk.made, &walk.names};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) PyMem_Free(buffers[i]->data);
    if (walk.has_failed && !PyErr_Occurred()) PyErr_NoMemory();
    if (PyErr_Occurred()) Py_CLEAR(records);
    return records;
}
