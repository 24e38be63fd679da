/* The limit: one loop for each workload, one core, nothing general. `loops WORKLOAD REQUESTS SEED WARM` prints JSON.

A request's departure is known when it arrives (first come, first served), so no loop has a heap of events. Random:
xoshiro256+ (Blackman, Vigna), exponential by the ziggurat of 256 layers (Marsaglia, Tsang 2000) or, with -DLOG, as
-log(1 - u), which is what one writes first. With -DKEEP each request's pod, time and latency are kept, as k8slb keeps
them; else they are only added up. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t s[4];
static double wide[256], high[257];

static inline uint64_t turn(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline uint64_t bits(void) {
    uint64_t found = s[0] + s[3], t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3], s[2] ^= t, s[3] = turn(s[3], 45);
    return found;
}
static inline double uniform(void) { return (bits() >> 11) * 0x1p-53; }
static inline uint32_t below(uint32_t n) { return (uint32_t)((bits() >> 32) * n >> 32); }

static void tables(uint64_t seed) {
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u, z = (z ^ z >> 27) * 0x94d049bb133111ebu, s[i] = z ^ z >> 31;
    }
    const double r = 7.69711747013104972, area = 0.0039496598225815571993;
    wide[0] = area / exp(-r), wide[1] = r, high[0] = 0, high[1] = exp(-r);
    for (int i = 2; i < 256; i++) high[i] = high[i - 1] + area / wide[i - 1], wide[i] = -log(high[i]);
    high[256] = 1;
}

/* Layer i spans [0, wide[i]) between high[i] and high[i + 1]; the lowest has the tail beside it. */
static inline double exponential(void) {
#ifdef LOG
    return -log(1 - uniform());
#endif
    for (double shift = 0;;) {
        uint64_t u = bits();
        int i = u & 255;
        double x = (u >> 11) * 0x1p-53 * wide[i];
        if (__builtin_expect(i < 255 && x < wide[i + 1], 1)) return shift + x;
        if (i == 0) shift += wide[1]; /* memoryless: the tail is the whole curve again */
        else if (high[i] + uniform() * (high[i + 1] - high[i]) < exp(-x)) return shift + x;
    }
}

#define POD 100
#define RING 4096 /* of departures still to come; more would be queues that theory never sees */
static double freed[POD], due[POD][RING];
static int load[POD], first[POD];

static inline void drain(int i, double now) {
    while (load[i] && due[i][first[i]] <= now) first[i] = (first[i] + 1) % RING, load[i]--;
}
static inline double serve(int i, double now, double mean) {
    return freed[i] = (freed[i] > now ? freed[i] : now) + mean * exponential();
}
static inline double join(int i, double now, double mean) {
    if (load[i] == RING) exit(3);
    return due[i][(first[i] + load[i]++) % RING] = serve(i, now, mean);
}

#ifdef KEEP
static struct { int32_t *pod; double *when, *took; } kept;
static long keeps;
#endif

static inline double noted(int pod, double when, double took) {
#ifdef KEEP
    kept.pod[keeps] = pod, kept.when[keeps] = when, kept.took[keeps++] = took;
#endif
    return took;
}

static double w1(long n) { /* 10 pods at random */
    double now = 0, spent = 0;
    for (long k = 0; k < n; k++) {
        int pod = below(10);
        now += exponential() / 800;
        spent += noted(pod, now, serve(pod, now, 0.01) - now);
    }
    return spent / n;
}

static double w2(long n) { /* the shortest of 10 */
    double now = 0, spent = 0, next[10]; /* each pod's next departure */
    for (int i = 0; i < 10; i++) next[i] = INFINITY;
    for (long k = 0; k < n; k++) {
        int best = 0;
        now += exponential() / 800;
        for (int i = 0; i < 10; i++)
            while (next[i] <= now)
                first[i] = (first[i] + 1) % RING, next[i] = --load[i] ? due[i][first[i]] : INFINITY;
        for (int i = 1; i < 10; i++) best = load[i] < load[best] ? i : best;
        double done = join(best, now, 0.01);
        if (load[best] == 1) next[best] = done;
        spent += noted(best, now, done - now);
    }
    return spent / n;
}

static double w3(long n) { /* the less busy of two drawn of 100 */
    double now = 0, spent = 0;
    for (long k = 0; k < n; k++) {
        int a = below(100), b = below(100);
        now += exponential() / 800;
        drain(a, now), drain(b, now);
        int best = load[a] <= load[b] ? a : b;
        spent += noted(best, now, join(best, now, 0.1) - now);
    }
    return spent / n;
}

/* 3 nodes in turn, 2 replicas, 5 pods. Two queues reorder: a request that has left one replica waits in its ring until no
   request can still leave the other one earlier. */
static double w4(long n) {
    double now = 0, spent = 0, free2[2] = {0}, came[2][RING], left[2][RING];
    int at[2] = {0}, in[2] = {0}, node = 0;
    for (long k = 0; k <= n; k++) {
        if (k < n) now += exponential() / 400; else now = INFINITY;
        for (;;) { /* whoever has left a replica by now goes on, the earlier first */
            double a = in[0] ? left[0][at[0]] : INFINITY, b = in[1] ? left[1][at[1]] : INFINITY;
            int i = b < a;
            double then = i ? b : a;
            if (!(then <= now) || then == INFINITY) break;
            int pod = below(5);
            spent += noted(pod, came[i][at[i]], serve(pod, then, 0.01) - came[i][at[i]]);
            at[i] = (at[i] + 1) % RING, in[i]--;
        }
        if (k == n) break;
        node = (node + 1) % 3;
        int i = below(2), end = (at[i] + in[i]++) % RING;
        if (in[i] > RING) exit(3);
        came[i][end] = now;
        left[i][end] = free2[i] = (free2[i] > now ? free2[i] : now) + 0.001 * exponential();
    }
    return (void)node, spent / n;
}

int main(int count, char **words) {
    double (*const loops[])(long) = {w1, w2, w3, w4};
    if (count < 5) return 2;
    double (*loop)(long) = loops[words[1][1] - '1'];
    tables(strtoull(words[3], 0, 10));
#ifndef KEEP
    for (long n = atol(words[4]); n; n = 0) loop(n);
#endif
    memset(freed, 0, sizeof freed), memset(load, 0, sizeof load), memset(first, 0, sizeof first);
    clock_t begun = clock();
#ifdef KEEP
    size_t n = atol(words[2]);
    keeps = 0, kept.pod = malloc(n * 4), kept.when = malloc(n * 8), kept.took = malloc(n * 8);
#endif
    double mean = loop(atol(words[2]));
    printf("{\"mean\": %.9f, \"cpu\": %.6f}\n", mean, (double)(clock() - begun) / CLOCKS_PER_SEC);
    return 0;
}
