"""One module for each section of the page: what it says, and its"""
