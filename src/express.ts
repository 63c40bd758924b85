export { type HttpMiddleware, type RouterOptions, requestContext, router } from './server/express-router.ts'
