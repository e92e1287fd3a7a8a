"""glimpse"""
