# The document, narrowed to what the development client may have, so that valid data succeeds; and with the links that
# OpenAPI cannot state for a security scheme: which token of a pair goes where. $issuer is the only audience.
def links: {
  inspect: {operationId: "inspectToken", parameters: {"header.Authorization": "Token {$response.body#/value}"}},
  refresh: {operationId: "refreshToken", parameters: {"header.Authorization": "Bearer {$response.body#/refresh}"}}
};
# What the document says of a claim in words, because generators stumble over it.
def scalar: [{type: "string", maxLength: 255}, {type: "boolean"},
  {type: "integer", minimum: -9007199254740991, maximum: 9007199254740991}];
def claim: {oneOf: (scalar + [{type: "array", maxItems: 32, items: {oneOf: scalar}}])};
.paths["/token"] |= (.post.responses["200"].links = links | .put.responses["200"].links = links)
| .components.schemas |= (
    (.CreateToken, .RefreshToken).properties.scope.items = {type: "string", enum: ["demo:read", "demo:write"]}
    | .CreateToken.properties |= (
        del(.client_id, .client_secret)
        | .audience.items = {type: "string", enum: [$issuer]}
        | .subject.pattern = "^user:[!-~]+$"
        | .lifetime.maximum = 600
        | .claims |= (.properties = {tenant: claim} | .additionalProperties = false)
      )
  )
