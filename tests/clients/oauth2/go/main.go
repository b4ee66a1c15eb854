// Command clients asks for tokens by golang.org/x/oauth2, as Debian packages it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const both, read = "orders:read orders:write", "orders:read"

var issuer, secret = os.Getenv("ISSUER"), os.Getenv("SHOP_SECRET")

func say(what string) {
	fmt.Printf("ok: golang.org/x/oauth2 %s: %s\n", os.Getenv("GO_OAUTH2_VERSION"), what)
}

func check(holds bool, what ...any) {
	if !holds {
		fmt.Fprintln(os.Stderr, append([]any{"clients:"}, what...)...)
		os.Exit(1)
	}
}

func config(style oauth2.AuthStyle, secret string) *clientcredentials.Config {
	return &clientcredentials.Config{
		ClientID: "shop", ClientSecret: secret, TokenURL: issuer + "/oauth2/token", AuthStyle: style,
	}
}

func main() {
	ctx := context.Background()
	for _, style := range []struct {
		name  string
		value oauth2.AuthStyle
	}{
		{"AutoDetect", oauth2.AuthStyleAutoDetect},
		{"client_secret_basic", oauth2.AuthStyleInHeader},
		{"client_secret_post", oauth2.AuthStyleInParams},
	} {
		whole, err := config(style.value, secret).Token(ctx)
		check(err == nil, err)
		check(whole.Valid() && whole.TokenType == "Bearer" && whole.Extra("scope") == both, whole)

		narrow := config(style.value, secret)
		narrow.Scopes = []string{read}
		narrow.EndpointParams = url.Values{"resource": {"https://orders.example.com"}}
		token, err := narrow.Token(ctx)
		check(err == nil && token.Extra("scope") == read, token, err)

		// The client sends the token with each request, and asks for another when it has expired.
		answer, err := narrow.Client(ctx).Get(issuer + "/token?scope=orders:read&audience=https://orders.example.com")
		check(err == nil && answer.StatusCode == http.StatusOK, answer, err)
		var told struct{ Client string }
		check(json.NewDecoder(answer.Body).Decode(&told) == nil && told.Client == "shop", told)
		answer.Body.Close()

		endpoint := oauth2.Endpoint{TokenURL: issuer + "/oauth2/token", AuthStyle: style.value}
		refresher := oauth2.Config{ClientID: "shop", ClientSecret: secret, Endpoint: endpoint}
		again, err := refresher.TokenSource(ctx, &oauth2.Token{RefreshToken: whole.RefreshToken}).Token()
		check(err == nil && again.Extra("scope") == both && again.AccessToken != whole.AccessToken, again, err)
		say(style.name + ": a token, scope and resource narrowed, a request with it, refresh")
	}
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleAutoDetect, oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		refused(config(style, "wrong"), http.StatusUnauthorized, "invalid_client")
	}
	other := config(oauth2.AuthStyleInHeader, secret)
	other.Scopes = []string{"other"}
	refused(other, http.StatusBadRequest, "invalid_scope")
	say("a wrong secret is a RetrieveError with invalid_client, a refused scope one with invalid_scope")
}

func refused(config *clientcredentials.Config, status int, code string) {
	_, err := config.Token(context.Background())
	var failed *oauth2.RetrieveError
	check(errors.As(err, &failed), err)
	var body struct{ Error string }
	check(json.Unmarshal(failed.Body, &body) == nil && body.Error == code, string(failed.Body))
	check(failed.Response.StatusCode == status, failed.Response.Status)
}
