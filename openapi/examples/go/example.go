// Gets a token from lingpai, keeps it fresh, and calls an API that verifies it offline with the published keys, with
// nothing but the standard library.
//
//	CLIENT_ID=shop CLIENT_SECRET=lps_… go run .
//
// `go run . api` only serves the API, and needs no secret. ISSUER is what tokens say in `iss`; TOKENS_URL is where
// lingpai is reached, if not there; PORT is the API's.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/big"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	audience = "https://orders.example.com"
	scope    = "orders:read"
)

var (
	issuer    = environment("ISSUER", "http://127.0.0.1:8080")
	tokensURL = environment("TOKENS_URL", issuer)
	client    = &http.Client{Timeout: 10 * time.Second}
)

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// ---- The client

// Tokens holds an access token for one audience that is always fresh.
type Tokens struct {
	audience string
	mutex    sync.Mutex
	pair     *tokenPair
	renewAt  time.Time
}

type tokenPair struct {
	Value   string    `json:"value"`
	Refresh string    `json:"refresh"`
	Expire  time.Time `json:"expire"`
}

// Get returns the token. Callers that come while one is on its way wait for the lock, and find it.
func (t *Tokens) Get(ctx context.Context) (string, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.pair == nil || !time.Now().Before(t.renewAt) {
		pair, err := t.renew(ctx)
		if err != nil {
			return "", err
		}
		// Half a minute early, so that no request carries a token that ends on its way.
		left := time.Until(pair.Expire)
		early := left / 2
		if early > 30*time.Second {
			early = 30 * time.Second
		}
		t.pair, t.renewAt = pair, time.Now().Add(left-early)
	}
	return t.pair.Value, nil
}

var errRefused = errors.New("the credentials are refused")

func (t *Tokens) renew(ctx context.Context) (*tokenPair, error) {
	if t.pair != nil {
		pair, err := requestToken(ctx, http.MethodPut, nil, func(r *http.Request) {
			r.Header.Set("Authorization", "Token "+t.pair.Refresh)
		})
		// A refused refresh token only says that the session has ended: begin another.
		if !errors.Is(err, errRefused) {
			return pair, err
		}
	}
	body := map[string][]string{"audience": {t.audience}, "scope": {scope}}
	return requestToken(ctx, http.MethodPost, body, func(r *http.Request) {
		r.SetBasicAuth(os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET"))
	})
}

func requestToken(ctx context.Context, method string, body any, authorize func(*http.Request)) (*tokenPair, error) {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, tokensURL+"/token", &content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	authorize(request)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	fmt.Printf("%s /token: %d\n", method, response.StatusCode)
	switch response.StatusCode {
	case http.StatusOK:
		pair := new(tokenPair)
		return pair, json.NewDecoder(response.Body).Decode(pair)
	case http.StatusUnauthorized:
		return nil, errRefused
	default:
		said, _ := io.ReadAll(io.LimitReader(response.Body, 4_096))
		return nil, fmt.Errorf("no token: %s %s", response.Status, said)
	}
}

// ---- The API

// Keys holds lingpai's public keys, for as long as its Cache-Control says.
type Keys struct {
	mutex            sync.Mutex
	keys             map[string]*ecdsa.PublicKey
	staleAt, fetchAt time.Time
}

// pause is the shortest time between two fetches of the same.
const pause = 5 * time.Second

var (
	errUnavailable = errors.New("what is needed to judge a token cannot be fetched")
	errInvalid     = errors.New("the JWT is not valid")
	maxAge         = regexp.MustCompile(`max-age=(\d+)`)
)

// Key returns the key with this id.
func (k *Keys) Key(id string) (*ecdsa.PublicKey, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	now := time.Now()
	// An unknown key may be a new one, but made-up ids must not cause a fetch each time.
	if (!now.Before(k.staleAt) || k.keys[id] == nil) && !now.Before(k.fetchAt) {
		k.fetchAt = now.Add(pause)
		if err := k.fetch(); err != nil {
			return nil, fmt.Errorf("%w: %v", errUnavailable, err)
		}
	}
	if !time.Now().Before(k.staleAt) {
		return nil, errUnavailable
	}
	if key := k.keys[id]; key != nil {
		return key, nil
	}
	return nil, errInvalid
}

func (k *Keys) fetch() error {
	response, err := client.Get(tokensURL + "/.well-known/jwks.json")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var set struct {
		Keys []struct{ Kid, Alg, X, Y string }
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return err
	}
	k.keys = make(map[string]*ecdsa.PublicKey)
	for _, key := range set.Keys {
		x, y := number(key.X), number(key.Y)
		if key.Alg == "ES256" && elliptic.P256().IsOnCurve(x, y) {
			k.keys[key.Kid] = &ecdsa.PublicKey{Curve: elliptic.P256(), X: x, Y: y}
		}
	}
	k.staleAt = time.Now().Add(freshFor(response))
	return nil
}

// freshFor says how long an answer may be kept.
func freshFor(response *http.Response) time.Duration {
	fresh := pause
	if age := maxAge.FindStringSubmatch(response.Header.Get("Cache-Control")); age != nil {
		if seconds, err := strconv.Atoi(age[1]); err == nil && time.Duration(seconds)*time.Second > fresh {
			fresh = time.Duration(seconds) * time.Second
		}
	}
	return fresh
}

func number(text string) *big.Int {
	octets, _ := base64.RawURLEncoding.DecodeString(text)
	return new(big.Int).SetBytes(octets)
}

type claims struct {
	Issuer   string   `json:"iss"`
	Audience listed   `json:"aud"`
	Expires  *float64 `json:"exp"`
	Scope    string   `json:"scope"`
	ID       string   `json:"jti"`
	Client   string   `json:"client_id"`
	Session  string   `json:"sid"`
	Issued   int64    `json:"iat"`
	actor
}

// actor is what a token is about, or what acts for it; the outermost is the latest.
type actor struct {
	Subject string `json:"sub"`
	Actor   *actor `json:"act"`
}

// listed is a string, or an array of them.
type listed []string

func (l *listed) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte{'"'}) {
		*l = listed{""}
		return json.Unmarshal(text, &(*l)[0])
	}
	return json.Unmarshal(text, (*[]string)(l))
}

func has(list []string, wanted string) bool {
	for _, each := range list {
		if each == wanted {
			return true
		}
	}
	return false
}

// open reads the claims of a JWT of this type that lingpai signed. By hand, since that is short for one algorithm; for
// more than one, take github.com/golang-jwt/jwt.
func (k *Keys) open(token, typ string, claims any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errInvalid
	}
	var header struct{ Alg, Kid, Typ string }
	// The algorithm is the one that this service was told to expect, never what the token says; without a look at `typ`,
	// other tokens of the same issuer would do.
	if !decode(parts[0], &header) || header.Alg != "ES256" || header.Typ != typ {
		return errInvalid
	}
	key, err := k.Key(header.Kid)
	if err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return errInvalid
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key, digest[:], r, s) || !decode(parts[1], claims) {
		return errInvalid
	}
	return nil
}

// Verify reads an access token as RFC 9068 says.
func (k *Keys) Verify(token string) (*claims, error) {
	var claims claims
	if err := k.open(token, "at+jwt", &claims); err != nil {
		return nil, err
	}
	if claims.ID == "" || claims.Client == "" || claims.Subject == "" || claims.Issued == 0 || claims.Issuer != issuer || !has(claims.Audience, audience) ||
		claims.Expires == nil || float64(time.Now().Add(-5*time.Second).Unix()) >= *claims.Expires {
		return nil, errInvalid
	}
	return &claims, nil
}

// Revocations holds what lingpai has revoked, where it publishes a list.
type Revocations struct {
	keys *Keys
	held atomic.Pointer[revoked]
}

type revoked struct {
	Issuer  string  `json:"iss"`
	Expires float64 `json:"exp"`
	Revoked struct {
		JTI, Session    []string
		Client, Subject map[string]int64
	}
}

// follow keeps the list fresh beside the requests, so that none waits for it.
func (r *Revocations) follow(pause time.Duration) {
	for {
		time.Sleep(pause)
		pause = r.renew()
	}
}

// renew fetches the list, and says after how long to do so again.
func (r *Revocations) renew() time.Duration {
	list, again, err := r.fetch()
	if err != nil {
		log.Print("no revocations: ", err) // the list at hand is good until its `exp`
		return pause
	}
	r.held.Store(list)
	return again
}

func (r *Revocations) fetch() (*revoked, time.Duration, error) {
	response, err := client.Get(tokensURL + "/.well-known/revocations")
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	list := &revoked{Expires: math.Inf(1)}
	if response.StatusCode == http.StatusNotFound { // none is published
		return list, time.Minute, nil
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, 0, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, 0, errors.New(response.Status)
	}
	list.Expires = 0
	if err := r.keys.open(string(text), "revocations+jwt", list); err != nil {
		return nil, 0, err
	}
	if list.Issuer != issuer || list.over() {
		return nil, 0, errInvalid
	}
	again := freshFor(response)
	if again > time.Minute {
		again = time.Minute
	}
	return list, again, nil
}

func (l *revoked) over() bool {
	return float64(time.Now().Unix()) >= l.Expires
}

// check refuses a token that has been revoked.
func (r *Revocations) check(token *claims) error {
	list := r.held.Load()
	if list == nil || list.over() {
		return errUnavailable
	}
	// `sid` is the second in which the session began, a dot and an id. A refresh makes no token older.
	began := token.Issued
	if token.Session != "" {
		second, _, _ := strings.Cut(token.Session, ".")
		began, _ = strconv.ParseInt(second, 10, 64)
	}
	ends := has(list.Revoked.JTI, token.ID) || has(list.Revoked.Session, token.Session)
	earlier := func(name string) bool {
		return began < list.Revoked.Client[name] || began < list.Revoked.Subject[name]
	}
	ends = ends || earlier(token.Client)
	for actor := &token.actor; actor != nil; actor = actor.Actor {
		ends = ends || earlier(actor.Subject)
	}
	if ends {
		return errInvalid
	}
	return nil
}

func decode(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

type api struct {
	keys        *Keys
	revocations *Revocations
}

func (a *api) orders(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, challenge string) {
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(status)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		refuse(http.StatusUnauthorized, "Bearer")
		return
	}
	claims, err := a.keys.Verify(token)
	if err == nil {
		err = a.revocations.check(claims)
	}
	switch {
	case errors.Is(err, errUnavailable):
		w.WriteHeader(http.StatusServiceUnavailable) // nothing can be said about the token
	case err != nil:
		refuse(http.StatusUnauthorized, `Bearer error="invalid_token"`)
	case !has(strings.Split(claims.Scope, " "), scope):
		refuse(http.StatusForbidden, `Bearer error="insufficient_scope"`)
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"orders":["tea"]}`)
	}
}

// ---- Both

func call(url string, tokens *Tokens) string {
	token, err := tokens.Get(context.Background())
	if err != nil {
		return err.Error()
	}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	response.Body.Close()
	return strconv.Itoa(response.StatusCode)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+environment("PORT", "0"))
	if err != nil {
		log.Fatal(err)
	}
	url := fmt.Sprintf("http://%s/orders", listener.Addr())
	fmt.Println("API at", url)
	keys := new(Keys)
	revocations := Revocations{keys: keys}
	go revocations.follow(revocations.renew())
	http.HandleFunc("/orders", (&api{keys, &revocations}).orders)
	if len(os.Args) > 1 && os.Args[1] == "api" {
		log.Fatal(http.Serve(listener, nil))
	}
	go http.Serve(listener, nil)

	tokens := &Tokens{audience: audience}
	for round := 0; round < 3; round++ {
		if round > 0 {
			time.Sleep(2500 * time.Millisecond)
		}
		var statuses [2]string
		var callers sync.WaitGroup
		for i := range statuses {
			callers.Add(1)
			go func(i int) {
				defer callers.Done()
				statuses[i] = call(url, tokens)
			}(i)
		}
		callers.Wait()
		fmt.Println("two callers at once:", statuses[0], statuses[1])
	}
	fmt.Println("a token for another API:", call(url, &Tokens{audience: "https://billing.example.com"}))
}
