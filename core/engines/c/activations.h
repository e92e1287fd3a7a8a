/* tanh, sigmoid, ReLU and the identity of vectors, accurate to the last bits from tiny numbers to
   huge ones, and their derivatives as functions of their values, as in core/activations.py. */

#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H

#include <stdint.h>
#ifdef __SSE__
#include <immintrin.h>
#endif

#include "product.h"

enum activation { TANH, SIGMOID, RELU, IDENTITY };

INLINE vec within(vec x, vec limit) { /* -limit <= x <= limit; NaN stays NaN */
#ifdef __AVX512F__
    return (vec)_mm512_max_ps((__m512)-limit, _mm512_min_ps((__m512)limit, (__m512)x));
#else
    x = choose(x > limit, limit, x);
    return choose(x < -limit, -limit, x);
#endif
}

/* e^x = 2^n (1 + p) with p = e^r - 1, |r| <= ln(2) / 2; p by a polynomial, relative error 2e-8. */
INLINE vec exponential(vec x, vec limit, vec *power) {
    x = within(x, limit);
    const float magic =
        12582912; /* 1.5 * 2^23: adding it rounds to an integer, in the lowest bits */
    vec n = x * 1.44269504f + magic;
    *power = (vec)(((ints)n << 23) + 0x3f800000);
    n -= magic;
    vec r = x - n * 0.693145752f - n * 1.42860677e-6f; /* ln 2 in two parts */
    vec p = 0.0013882762f * r + 0.008366535f;
    p = p * r + 0.041667197f;
    p = p * r + 0.16666543f;
    p = p * r + 0.49999997f;
    return p * r * r + r;
}

INLINE vec sigmoid(vec x) { /* 1 / (1 + e^-x) */
    vec power, p = exponential(-x, (vec){0} + 87, &power);
    return 1 / (1 + (power + power * p));
}

INLINE vec hyperbolic_tangent(
    vec x) { /* tanh x = m / (m + 2), m = e^2x - 1: exact to the last bits for small x too */
    vec power, p = exponential(2 * x, (vec){0} + 20, &power);
    vec m = (power - 1) + power * p;
    return m / (m + 2);
}

INLINE vec activate(int64_t sigma, vec z) {
    switch (sigma) {
    case TANH: return hyperbolic_tangent(z);
    case SIGMOID: return sigmoid(z);
    case RELU: return choose(z < 0, (vec){0}, z);
    default: return z;
    }
}

INLINE vec derivative(int64_t sigma, vec y) { /* sigma' as a function of y = sigma(z) */
    switch (sigma) {
    case TANH: return 1 - y * y;
    case SIGMOID: return y * (1 - y);
    case RELU: return choose(y > 0, (vec){0} + 1, (vec){0});
    default: return (vec){0} + 1;
    }
}

#endif
