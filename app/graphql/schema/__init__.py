"""The GraphQL schema: types, inputs, enums and resolvers, with their context and permissions."""
